"""Partially input-convex networks: potentials that are convex in the point, and anything in a condition.

Where a hypernetwork predicts the *parameters* of a map for each problem, a conditional Monge map is one
network with the condition c (a dose, a class, an embedding) as a second *input*: ``T(x | c) = ∇ₓ g(x, c)``.
With ``u₀ = c`` and the leaky rectifier σ of slope 0.2,

    u_{i+1} = σ(V_i u_i + v_i)
    z_{i+1} = σ(a_i)
    a_i = W^z_i (z_i ⊙ sp(W^{zu}_i u_i + b_i)) + W^x_i (x ⊙ (W^{xu}_i u_i + b'_i)) + W^u_i u_i + b''_i

without the first term for i = 0, where the output is squared, ``z_1 = σ(a_0)²``, and without σ for the last,
which is one number. It is convex in x while all ``W^z ≥ 0``. (The biases b'', the linear end, and the
quadratic start that is added to the network, so that it begins as a map known in closed form, are ours: the
paper leaves them open.)

The first output, ``σ(a)²`` of an affine a, is convex, with a slope that is continuous at 0.

A map is a gradient, and its loss has to be differentiated with respect to parameters: a mixed second
derivative. It is the gradient of ``⟨e, ∇ₓ g⟩``, the derivative of g along e, which is carried through the
layers beside the value.

References
----------
Bunne, Krause and Cuturi, "Supervised training of conditional Monge maps", 2022.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_floating,
    check_integer,
    device,
    eye,
    transpose,
)
from refwfm.networks.activations import leaky_relu, leaky_slope, softplus
from refwfm.networks.layers import Params, Pullback, dense, init_dense

if TYPE_CHECKING:
    from numpy.random import Generator

SLOPE = 0.2
"""Of the leaky rectifier below 0."""


class Quadratic(NamedTuple):
    """The convex function ``xᵀ A x / 2 + ⟨q, x⟩`` that a network is added to, of one condition or all.

    Attributes
    ----------
    A : array, shape (..., d, d)
        Symmetric, positive semi-definite.
    q : array, shape (..., d)
    """

    A: Array
    q: Array


def identity_quadratic(d: int, /, *, like: Array) -> Quadratic:
    """Start from the map that moves nothing: ``‖x‖² / 2``.

    Equation: META-OT-17.

    Examples
    --------
    >>> identity_quadratic(2, like=np.zeros(0)).A.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    xp = check_floating(like=like)
    return Quadratic(eye(d, like), xp.zeros((d,), dtype=like.dtype, device=device(like)))


def init_picnn(
    rng: "Generator",
    d: int,
    n_condition: int,
    /,
    *,
    like: Array,
    width: int = 64,
    depth: int = 4,
    kernels: float = 0.1,
) -> Params:
    """Draw the parameters of a partially input-convex network, whose value is 0 before training.

    Kernels ``W^z, W^x ~ U(0, kernels)``; what reads the condition is ``N(0, 1 / fan-in)``, its gates begin at
    ``sp(b) = 1`` and ``b' = 1``; the last layer is 0, so that the start alone is the map.

    Returns
    -------
    dict
        ``layers`` "0" ... "depth", each with ``wx`` (d, out), ``wu`` (dense), ``xu`` (dense) and, but for
        the first, ``wz`` (in, out) and ``zu`` (dense); ``condition`` "0" ... "depth - 1", dense.
    """
    width, depth = check_integer(width, "width", low=1), check_integer(depth, "depth", low=1)
    xp = array_namespace(like)
    layers, condition = {}, {}
    for i in range(depth + 1):
        last = i == depth
        n_u, n_out = (n_condition if i == 0 else width), (1 if last else width)
        high = 0.0 if last else kernels

        def draw(n_in: int, n_out: int = n_out, high: float = high) -> Array:
            return asarray_like(rng.uniform(0.0, 1.0, (n_in, n_out)) * high, like)

        gate = xp.ones(d, dtype=like.dtype, device=device(like))
        layer = {
            "wx": draw(d),
            "wu": init_dense(rng, n_u, n_out, like=like, scale=0.0 if last else 1.0),
            "xu": {"weight": init_dense(rng, n_u, d, like=like, scale=1.0)["weight"], "bias": gate},
        }
        if i > 0:
            at_one = math.log(math.expm1(1.0)) * xp.ones(width, dtype=like.dtype, device=device(like))
            layer |= {
                "wz": draw(width),
                "zu": {"weight": init_dense(rng, n_u, width, like=like, scale=1.0)["weight"], "bias": at_one},
            }
        layers[str(i)] = layer
        if not last:
            condition[str(i)] = init_dense(rng, n_u, width, like=like)
    return {"layers": layers, "condition": condition}


def picnn(
    params: Params, x: Array, c: Array, start: Quadratic | None = None, /
) -> tuple[Array, Callable[[Array], tuple[Params, Array]]]:
    """Potential ``g(x, c)``, convex in x while no kernel ``wz`` is negative.

    Equation: META-OT-16.

    Parameters
    ----------
    params : dict
        As ``init_picnn`` returns them, shared by all conditions.
    x : array, shape (..., n, d)
    c : array, shape (..., k)
        One condition for each cloud.
    start : Quadratic, optional
        Added to the network; ``identity_quadratic`` when left out.

    Returns
    -------
    value : array, shape (..., n)
    pullback : function
        ``d_value -> (d_params, d_x)``.

    Examples
    --------
    >>> params = init_picnn(np.random.default_rng(0), 2, 1, like=np.zeros(0), width=4)
    >>> picnn(params, np.asarray([[3.0, 4.0]]), np.ones(1))[0].tolist()  # half of 25
    [12.5]
    """
    xp = array_namespace(x)
    value, _, pullback = along(params, x, c, xp.zeros_like(x), start)
    return value, lambda d_value: pullback(d_value, xp.zeros_like(d_value))[:2]


def monge_map(
    params: Params, x: Array, c: Array, start: Quadratic | None = None, /
) -> tuple[Array, Callable[[Array], tuple[Params, Array]]]:
    """Map ``T(x | c) = ∇ₓ g(x, c)``.

    Equation: META-OT-16.

    Parameters
    ----------
    params, x, c, start
        As for ``picnn``.

    Returns
    -------
    gradient : array, shape (..., n, d)
    pullback : function
        ``d_gradient -> (d_params, d_x)``: of the derivative along ``d_gradient``.

    Examples
    --------
    >>> params = init_picnn(np.random.default_rng(0), 2, 1, like=np.zeros(0), width=4)
    >>> monge_map(params, np.asarray([[3.0, 4.0]]), np.ones(1))[0].tolist()  # before training nothing moves
    [[3.0, 4.0]]
    """
    xp = array_namespace(x)
    value, pull_value = picnn(params, x, c, start)
    gradient = pull_value(xp.ones_like(value))[1]

    def pullback(d_gradient: Array) -> tuple[Params, Array]:
        _, slope, pull = along(params, x, c, d_gradient, start)
        return pull(xp.zeros_like(slope), xp.ones_like(slope))

    return gradient, pullback


def along(
    params: Params, x: Array, c: Array, e: Array, start: Quadratic | None = None, /
) -> tuple[Array, Array, Callable[[Array, Array], tuple[Params, Array]]]:
    """Value of ``g(x, c)`` and its derivative along e, ``⟨e, ∇ₓ g⟩``, with the gradient of both.

    Equation: META-OT-16. Slopes of the rectifier are constants; the square of the first layer has a second
    derivative.

    Parameters
    ----------
    params, x, c, start
        As for ``picnn``.
    e : array, shape (..., n, d)

    Returns
    -------
    value, slope : array, shape (..., n)
    pullback : function
        ``(d_value, d_slope) -> (d_params, d_x)``.

    Examples
    --------
    >>> params = init_picnn(np.random.default_rng(0), 2, 1, like=np.zeros(0), width=4)
    >>> x = np.asarray([[3.0, 4.0]])
    >>> [part.tolist() for part in along(params, x, np.ones(1), x)[:2]]
    [[12.5], [25.0]]
    """
    xp = check_picnn(params, x, c)
    start = identity_quadratic(x.shape[-1], like=x) if start is None else start
    check_floating(x=x, A=start.A, q=start.q)
    pulls: list[Any] = []
    u, z, z_dot = c, None, None
    for name in sorted(params["layers"], key=int):
        layer = params["layers"][name]
        z, z_dot, pull_layer = _layer(layer, u, x, e, z, z_dot, last=name not in params["condition"])
        pull_u = None
        if name in params["condition"]:
            u, pull_u = _condition(params["condition"][name], u)
        pulls.append((name, pull_layer, pull_u))
    assert z is not None
    assert z_dot is not None
    Ax, Ae = x @ start.A, e @ start.A
    linear = start.q[..., None, :]
    value = z[..., 0] + xp.sum(x * (0.5 * Ax + linear), axis=-1)
    slope = z_dot[..., 0] + xp.sum(e * (Ax + linear), axis=-1)

    def pullback(d_value: Array, d_slope: Array) -> tuple[Params, Array]:
        d_x = d_value[..., None] * (Ax + linear) + d_slope[..., None] * Ae
        d_layers, d_condition = {}, {}
        d_z, d_dot = d_value[..., None], d_slope[..., None]
        d_u = xp.zeros_like(u)
        for name, pull_layer, pull_u in reversed(pulls):
            if pull_u is not None:
                d_condition[name], d_u = pull_u(d_u)
            d_layers[name], d_x_here, d_u_here, d_z, d_dot = pull_layer(d_z, d_dot)
            d_x, d_u = d_x + d_x_here, d_u + d_u_here
        return {"layers": d_layers, "condition": d_condition}, d_x

    return value, slope, pullback


def _condition(params: Params, u: Array) -> tuple[Array, Pullback]:
    """``σ(V u + v)``."""
    flat, pull_dense = dense(params, u)
    value, pull_relu = leaky_relu(flat, slope=SLOPE)
    return value, lambda d_u: pull_dense(pull_relu(d_u))


def _layer(
    params: Params, u: Array, x: Array, e: Array, z: Array | None, z_dot: Array | None, *, last: bool
) -> tuple[Array, Array, Callable[[Array, Array], Any]]:
    """One layer and its derivative along e; the pullback gives those of parameters, x, u, z and z_dot."""
    p, pull_p = dense(params["xu"], u)
    bias, pull_bias = dense(params["wu"], u)
    p = p[..., None, :]
    a, a_dot = (x * p) @ params["wx"] + bias[..., None, :], (e * p) @ params["wx"]
    if z is not None:
        raw, pull_raw = dense(params["zu"], u)
        q, pull_softplus = softplus(raw)
        q = q[..., None, :]
        a, a_dot = a + (z * q) @ params["wz"], a_dot + (z_dot * q) @ params["wz"]
    s = array_namespace(a).ones_like(a) if last else leaky_slope(a, slope=SLOPE)
    squared = z is None and not last
    y, y_dot = s * a, s * a_dot
    value, value_dot = (y * y, 2.0 * y * y_dot) if squared else (y, y_dot)

    def pullback(d_value: Array, d_dot: Array) -> Any:
        xp = array_namespace(d_value)
        if squared:
            d_value, d_dot = 2.0 * (y * d_value + y_dot * d_dot), 2.0 * y * d_dot
        d_a, d_a_dot = s * d_value, s * d_dot
        k, k_dot = d_a @ transpose(params["wx"]), d_a_dot @ transpose(params["wx"])
        d_xu, d_u = pull_p(xp.sum(k * x + k_dot * e, axis=-2))
        d_wu, more_u = pull_bias(xp.sum(d_a, axis=-2))
        grads = {"wx": _product(x * p, d_a) + _product(e * p, d_a_dot), "wu": d_wu, "xu": d_xu}
        if z is None:
            return grads, k * p, d_u + more_u, None, None
        m, m_dot = d_a @ transpose(params["wz"]), d_a_dot @ transpose(params["wz"])
        grads["wz"] = _product(z * q, d_a) + _product(z_dot * q, d_a_dot)
        grads["zu"], from_gate = pull_raw(pull_softplus(xp.sum(m * z + m_dot * z_dot, axis=-2)))
        return grads, k * p, d_u + more_u + from_gate, m * q, m_dot * q

    return value, value_dot, pullback


def _product(left: Array, right: Array) -> Array:
    """``Σ leftᵀ right`` over all rows of all clouds."""
    xp = array_namespace(left)
    return transpose(xp.reshape(left, (-1, left.shape[-1]))) @ xp.reshape(right, (-1, right.shape[-1]))


def check_picnn(params: Params, x: Array, c: Array, /) -> Any:
    """Raise unless points (..., n, d) and conditions (..., k) fit the network; return their namespace.

    Raises
    ------
    TypeError, ValueError
        If the parameters are another network's, or the shapes do not fit.
    """
    if not isinstance(params, dict) or not {"layers", "condition"} <= params.keys():
        raise TypeError("the parameters must be those of init_picnn, with 'layers' and 'condition'")
    first = params["layers"]["0"]
    xp = check_floating(x=x, c=c, wx=first["wx"])
    d, k = first["wx"].shape[0], first["xu"]["weight"].shape[0]
    if x.ndim < 2 or x.shape[-1] != d:
        raise ValueError(f"x must have shape (..., n, {d}); got {tuple(x.shape)}")
    if c.ndim < 1 or c.shape[-1] != k or tuple(c.shape[:-1]) != tuple(x.shape[:-2]):
        raise ValueError(
            f"c must have shape {(*x.shape[:-2], k)}, a condition for each cloud; got {tuple(c.shape)}"
        )
    return xp
