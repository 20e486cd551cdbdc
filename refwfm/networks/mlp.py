"""The multilayer perceptron of the paper: pre-norm residual blocks, zero before training."""

from typing import TYPE_CHECKING

from refwfm._array import Array
from refwfm.networks._order import in_order
from refwfm.networks.layers import (
    Params,
    Pullback,
    dense,
    init_dense,
    init_layer_norm,
    layer_norm,
    relu,
    residual,
)

if TYPE_CHECKING:
    from numpy.random import Generator


def init_mlp(
    rng: "Generator", n_in: int, n_out: int, *, like: Array, width: int = 1024, depth: int = 6
) -> Params:
    """Draw the parameters of ``mlp``.

    The paper's sizes (WFM-AppE1-network): 6 layers of width 1024.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_in, n_out : int
        Lengths of the input and of the output.
    like : array
        Fixes library, dtype and device.
    width, depth : int
        ``depth`` residual blocks, each with one (width, width) matrix.

    Returns
    -------
    dict
        ``in``, ``blocks`` ("0", "1", ...: ``norm`` and ``dense``), ``norm``, ``out``; the weights of ``out``
        are zero, so that training starts from the zero field.
    """
    return {
        "in": init_dense(rng, n_in, width, like=like, scale=1.0),
        "blocks": {
            str(layer): {
                "norm": init_layer_norm(width, like=like),
                "dense": init_dense(rng, width, width, like=like),
            }
            for layer in range(depth)
        },
        "norm": init_layer_norm(width, like=like),
        "out": init_dense(rng, width, n_out, like=like, scale=0.0),
    }


def block(params: Params, h: Array, /) -> tuple[Array, Pullback]:
    """Inner part of a residual block, ``relu(dense(layer_norm(h)))``, (..., width) to (..., width).

    Equation: none. Part of the networks of WFM-AppE1-network and GWFM-C7, which are audited whole.

    Examples
    --------
    >>> params = {"norm": init_layer_norm(2, like=np.zeros(0))}
    >>> params["dense"] = {"weight": np.eye(2), "bias": np.zeros(2)}
    >>> block(params, np.asarray([10.0, 30.0]))[0].round(4).tolist()
    [0.0, 1.0]
    """
    unit, norm_pullback = layer_norm(params["norm"], h)
    z, dense_pullback = dense(params["dense"], unit)
    y, relu_pullback = relu(z)

    def pullback(d_y: Array) -> tuple[Params, Array]:
        d_dense, d_unit = dense_pullback(relu_pullback(d_y))
        d_norm, d_h = norm_pullback(d_unit)
        return {"norm": d_norm, "dense": d_dense}, d_h

    return y, pullback


def mlp(params: Params, x: Array, /) -> tuple[Array, Pullback]:
    """Multilayer perceptron with skip connections, layer norm and ReLU.

    Equation: WFM-AppE1-network. ``h = in(x)``; for every block ``h ← h + relu(dense(norm(h)))``;
    ``y = out(norm(h))``.

    Parameters
    ----------
    params : dict
        As ``init_mlp`` returns them.
    x : array, shape (..., n_in)

    Returns
    -------
    y : array, shape (..., n_out)
    pullback : function
        ``d_y -> (d_params, d_x)``.

    Examples
    --------
    >>> params = init_mlp(np.random.default_rng(0), 3, 2, like=np.zeros(0), width=8, depth=1)
    >>> mlp(params, np.ones((5, 3)))[0].shape
    (5, 2)
    """
    h, in_pullback = dense(params["in"], x)
    block_pullbacks = {}
    for name, block_params in in_order(params["blocks"]):
        h, block_pullbacks[name] = residual(block)(block_params, h)
    unit, norm_pullback = layer_norm(params["norm"], h)
    y, out_pullback = dense(params["out"], unit)

    def pullback(d_y: Array) -> tuple[Params, Array]:
        d_out, d_unit = out_pullback(d_y)
        d_norm, d_h = norm_pullback(d_unit)
        d_blocks = {}
        for name in reversed(block_pullbacks):
            d_blocks[name], d_h = block_pullbacks[name](d_h)
        d_in, d_x = in_pullback(d_h)
        return {"in": d_in, "blocks": d_blocks, "norm": d_norm, "out": d_out}, d_x

    return y, pullback
