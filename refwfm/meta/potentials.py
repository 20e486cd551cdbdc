"""Meta OT on fixed atoms: a perceptron that reads two histograms and predicts their dual potential.

Atoms and cost are the same for all pairs, so that a pair is its two vectors of weights. The network predicts
only f: the other potential is its half-step. It learns without solutions, by raising the semi-dual, whose
gradient is what the rows of the predicted plan lack.

References
----------
META-OT : Amos, Luise, Cohen, Redko, "Meta Optimal Transport", ICML 2023.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from refwfm._array import Array, array_namespace, check_floating, check_integer
from refwfm.measures import check_broadcast
from refwfm.networks._order import in_order
from refwfm.networks.layers import Params, Pullback, dense, init_dense, relu
from refwfm.transport.grids import Cost, Softmin, check_histograms, half_steps
from refwfm.transport.problem import check_weights
from refwfm.transport.semidual import semidual_value_and_gradient

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.random import Generator


def init_potential_mlp(
    rng: "Generator",
    n: int,
    m: int,
    *,
    like: Array,
    width: int = 1024,
    depth: int = 3,
    out_scale: float = 1.0,
) -> Params:
    """Draw the parameters of ``potential_mlp``: LeCun normal weights, N(0, 1 / fan-in), and biases 0.

    The paper's sizes (META-OT-4): 3 hidden layers of width 1024.

    Parameters
    ----------
    rng : numpy.random.Generator
    n, m : int
        Numbers of atoms of the two measures; the potential has n values.
    like : array
        Fixes library, dtype and device.
    width, depth : int
    out_scale : float
        Of the last layer's weights: 1 is the paper's; with 0 training starts at the baseline of the loss.

    Returns
    -------
    dict
        ``hidden`` ("0", "1", ...) and ``out``, each a ``dense`` layer.
    """
    for name, value in (("n", n), ("m", m), ("width", width), ("depth", depth)):
        check_integer(value, name, low=1)
    sizes = [n + m, *depth * [width]]
    return {
        "hidden": {
            str(layer): init_dense(rng, sizes[layer], sizes[layer + 1], like=like, scale=1.0)
            for layer in range(depth)
        },
        "out": init_dense(rng, width, n, like=like, scale=out_scale),
    }


def potential_mlp(params: Params, a: Array, b: Array, /) -> tuple[Array, "Callable[[Array], Params]"]:
    """Potential of pairs of histograms: ``f = out(h)``, ``h ← relu(dense(h))`` from the two weights on.

    Equation: META-OT-4.

    Parameters
    ----------
    params : dict
        As ``init_potential_mlp`` returns them.
    a, b : array, shapes (..., n) and (..., m); leading axes broadcast

    Returns
    -------
    f : array, shape (..., n). Units: cost.
    pullback : function
        ``d_f -> d_params``.

    Raises
    ------
    ValueError
        If the parameters are for other numbers of atoms.

    Examples
    --------
    >>> params = init_potential_mlp(np.random.default_rng(0), 3, 2, like=np.zeros(0), width=8)
    >>> potential_mlp(params, np.ones((5, 3)), np.ones(2))[0].shape
    (5, 3)
    """
    out, first = params["out"], params["hidden"]["0"]
    xp = check_floating(**first, a=a, b=b, out=out["weight"])
    n, n_in = out["weight"].shape[1], first["weight"].shape[0]
    if a.ndim < 1 or b.ndim < 1 or (a.shape[-1], b.shape[-1]) != (n, n_in - n):
        raise ValueError(
            f"the parameters are for weights a (..., {n}) and b (..., {n_in - n}); "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    check_broadcast(a=a.shape[:-1], b=b.shape[:-1])
    batch = np.broadcast_shapes(tuple(a.shape[:-1]), tuple(b.shape[:-1]))
    h = xp.concat([xp.broadcast_to(part, (*batch, part.shape[-1])) for part in (a, b)], axis=-1)
    pullbacks: dict[str, tuple[Pullback, Pullback]] = {}
    for name, layer in in_order(params["hidden"]):
        z, dense_pullback = dense(layer, h)
        h, relu_pullback = relu(z)
        pullbacks[name] = dense_pullback, relu_pullback
    f, out_pullback = dense(out, h)

    def pullback(d_f: Array) -> Params:
        d_out, d_h = out_pullback(d_f)
        d_hidden = {}
        for name in reversed(pullbacks):
            dense_pullback, relu_pullback = pullbacks[name]
            d_hidden[name], d_h = dense_pullback(relu_pullback(d_h))
        return {"hidden": d_hidden, "out": d_out}

    return f, pullback


def amortisation_loss(
    params: Params,
    a: Array,
    b: Array,
    cost: Cost,
    /,
    *,
    eps: float,
    baseline: Array | None = None,
    mask_support: bool = True,
    minimum: Softmin | None = None,
) -> Array:
    """Mean over pairs of ``-S`` at the predicted potential, without the constants of S. Shape ().

    Equation: META-OT-4. Parameters as for ``loss_and_grad``.

    Examples
    --------
    >>> params = init_potential_mlp(np.random.default_rng(0), 1, 1, like=np.zeros(0), width=2)
    >>> one = np.ones((1, 1))
    >>> round(float(amortisation_loss(params, one, one, np.full((1, 1), 2.0), eps=1.0)), 9)
    -2.0
    """
    return loss_and_grad(
        params, a, b, cost, eps=eps, baseline=baseline, mask_support=mask_support, minimum=minimum
    )[0]


def loss_and_grad(
    params: Params,
    a: Array,
    b: Array,
    cost: Cost,
    /,
    *,
    eps: float,
    baseline: Array | None = None,
    mask_support: bool = True,
    minimum: Softmin | None = None,
    semidual: "Callable[..., tuple[Array, Array]]" = semidual_value_and_gradient,
) -> tuple[Array, Params]:
    """Loss of Meta OT and its gradient, by the envelope theorem and the network's pullback.

    Equation: META-OT-4. ``-mean S(f)``, ``∂/∂f = -(a - P 1) / B``: nothing is differentiated but the network.

    Parameters
    ----------
    params : dict
        Of ``potential_mlp``.
    a, b : array, shapes (..., n) and (..., m)
        The pairs of a batch: each sums to 1, which is not checked.
    cost : array (n, m), or Grid
    eps : float. Units: cost.
    baseline : array, shape (..., n), optional
        What the network corrects: ``f = baseline + potential_mlp(params, a, b)``. Units: cost.
    mask_support : bool
        Atoms without weight are left out, and f is in the convention of ``sinkhorn``. False is the paper's
        public code: f in the convention ``P = exp((f + g - K) / eps)``, with atoms of weight 0 in the sum, so
        that the network must learn to lower their potentials (see ``to_product_convention``).
    minimum : function, optional
        A twin of ``softmin`` or ``grid_softmin``.
    semidual : function
        ``semidual_value_and_gradient``, or a twin of it.

    Returns
    -------
    loss : array, shape (). Units: cost.
    d_params : dict

    Examples
    --------
    >>> params = init_potential_mlp(np.random.default_rng(0), 2, 2, like=np.zeros(0), width=4)
    >>> loss, grad = loss_and_grad(params, *np.eye(2)[:, None], 3.0 - np.eye(2), eps=1.0)
    >>> round(float(loss), 9), grad["out"]["bias"].tolist()  # one atom to another
    (-3.0, [0.0, 0.0])
    """
    f, pullback = potential_mlp(params, a, b)
    if baseline is not None:
        check_floating(f=f, baseline=baseline)
        f = f + baseline
    of = semidual if mask_support else unmasked_value_and_gradient
    value, gradient = of(f, cost, a, b, eps=eps, validate=False, minimum=minimum)
    xp, count = array_namespace(f), max(1, math.prod(value.shape))
    return -xp.sum(value) / count, pullback(gradient * (-1.0 / count))


def unmasked_value_and_gradient(
    f: Array,
    cost: Cost,
    a: Array,
    b: Array,
    /,
    *,
    eps: float | Array,
    validate: bool = True,
    minimum: Softmin | None = None,
) -> tuple[Array, Array]:
    """Value (...) and gradient (..., n) that the public code trains with, for ``P = exp((f + g - K) / eps)``.

    Equation: META-OT-4. Atoms of weight 0 take part: ``⟨f, a⟩ - eps ⟨log Σᵢ exp((fᵢ - K) / eps), b⟩`` with
    the sum over all i. So ``a - P 1`` is negative where a is 0.

    Parameters as for ``semidual_value``.

    Examples
    --------
    >>> value, gradient = unmasked_value_and_gradient(np.zeros(2), np.zeros((2, 2)), *np.eye(2), eps=1.0)
    >>> round(float(value), 4), gradient.tolist()  # -log 2
    (-0.6931, [0.5, -0.5])
    """
    xp, n = check_floating(f=f, a=a), f.shape[-1]
    a = check_weights(a, "a") if validate else a
    even = xp.full_like(a, 1.0 / n)  # with weights of 0 their cost would be cleared
    problem = check_histograms(cost, even, b, eps=eps, validate=validate)
    columns, rows = half_steps(problem, minimum)
    _, _, b, epsilon, _ = problem
    f = f + problem.f
    g = columns(f) - epsilon[..., None] * math.log(n)  # Σ exp is n times the mean
    # In the product convention with weights 1: exp((f - f⁺) / eps) is a row of the plan.
    lack = a - xp.exp((f - rows(g)) / epsilon[..., None])
    return xp.sum(f * a, axis=-1) + xp.sum(g * b, axis=-1), lack
