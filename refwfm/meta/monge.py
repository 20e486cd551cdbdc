"""Conditional Monge maps: losses and starts of a pair of partially input-convex networks.

g holds the map ``T(x | c) = ∇ₓ g(x, c)``, f the dual potential. They play a game, under each condition,

    min over g of E_α [f(∇g(x, c), c) - ⟨x, ∇g(x, c)⟩],    min over f of E_β f(y, c) - E_α f(∇g(x, c), c),

with ten steps of g (Adam 1e-4, β = (0.5, 0.9)) for each of f in the published settings. f is kept convex by
clamping its kernels, g is only penalised. Both begin as quadratics: the identity, or the optimal map between
the Gaussians with the moments under each condition.

References
----------
Bunne, Krause and Cuturi, "Supervised training of conditional Monge maps", 2022.
"""

import math
from typing import Any

from refwfm import bures
from refwfm._array import Array, array_namespace, check_floating, eye, matvec, nonnegative
from refwfm.measures import Gaussian, check_measure
from refwfm.meta.picnn import Quadratic, monge_map, picnn
from refwfm.networks.layers import Params


def gaussian_quadratic(mu: Gaussian, nu: Gaussian, /, *, ridge: float = 0.01) -> Quadratic:
    """Start from the optimal map between Gaussians, one for each condition: ``A x + m_ν - A m_μ``.

    Equation: META-OT-17. Covariances are widened by ``ridge`` times the identity, as published. For f, whose
    gradient is the inverse map, exchange the two.

    Parameters
    ----------
    mu, nu : Gaussian, mean (..., d), cov (..., d, d)
        Moments of source and target under each condition.
    ridge : float
        In squared units of the data.

    Examples
    --------
    >>> mu, nu = Gaussian(np.zeros(1), np.eye(1)), Gaussian(np.ones(1), 4.0 * np.eye(1))
    >>> [part.round(6).tolist() for part in gaussian_quadratic(mu, nu, ridge=0.0)]
    [[[2.0]], [1.0]]
    """
    mu, nu = check_measure(mu, Gaussian, "mu"), check_measure(nu, Gaussian, "nu")
    one = ridge * eye(mu.mean.shape[-1], mu.mean)
    A = bures.gelbrich_map(Gaussian(mu.mean, mu.cov + one), Gaussian(nu.mean, nu.cov + one), validate=False)
    return Quadratic(A, nu.mean - matvec(A, mu.mean))


def map_loss_and_grad(
    g: Params,
    f: Params,
    x: Array,
    c: Array,
    /,
    *,
    g_start: Quadratic | None = None,
    f_start: Quadratic | None = None,
    penalty: float = 1.0,
) -> tuple[Array, Params]:
    """Loss of the map's network g, ``E_α [f(∇g(x, c), c) - ⟨x, ∇g(x, c)⟩] + penalty · Σ ‖relu(-W^z)‖_F``.

    Equation: META-OT-16. f is a constant; of several conditions the mean.

    Parameters
    ----------
    g, f : dict
        As ``init_picnn`` returns them.
    x : array, shape (..., n, d)
        Points of the source under each condition.
    c : array, shape (..., k)
    g_start, f_start : Quadratic, optional
    penalty : float

    Returns
    -------
    loss : array, shape ()
    grads : dict like ``g``

    Examples
    --------
    >>> from refwfm.meta.picnn import init_picnn
    >>> params = init_picnn(np.random.default_rng(0), 1, 1, like=np.zeros(0), width=4)
    >>> float(map_loss_and_grad(params, params, np.asarray([[2.0]]), np.ones(1))[0])  # 2 - 4
    -2.0
    """
    xp = array_namespace(x)
    moved, pull_map = monge_map(g, x, c, g_start)
    value, pull_f = picnn(f, moved, c, f_start)
    count = math.prod(value.shape)
    loss = xp.sum(value - xp.sum(x * moved, axis=-1)) / count
    _, d_moved = pull_f(xp.full_like(value, 1.0 / count))
    grads, _ = pull_map(d_moved - x / count)
    size, d_size = negative_kernels(g)
    for name, d_kernel in d_size.items():
        layer = grads["layers"][name]
        grads["layers"][name] = layer | {"wz": layer["wz"] + penalty * d_kernel}
    return loss + penalty * size, grads


def potential_loss_and_grad(
    g: Params,
    f: Params,
    x: Array,
    y: Array,
    c: Array,
    /,
    *,
    g_start: Quadratic | None = None,
    f_start: Quadratic | None = None,
) -> tuple[Array, Params]:
    """Loss of the dual potential f, ``E_β f(y, c) - E_α f(∇g(x, c), c)``; g is a constant.

    Equation: META-OT-16. After a step, ``clamp_kernels`` keeps f convex.

    Parameters
    ----------
    g, f : dict
    x, y : array, shape (..., n, d) and (..., m, d)
        Points of source and target under each condition.
    c : array, shape (..., k)
    g_start, f_start : Quadratic, optional

    Returns
    -------
    loss : array, shape ()
    grads : dict like ``f``

    Examples
    --------
    >>> from refwfm.meta.picnn import init_picnn
    >>> params = init_picnn(np.random.default_rng(0), 1, 1, like=np.zeros(0), width=4)
    >>> x, y = np.asarray([[2.0]]), np.asarray([[4.0]])
    >>> float(potential_loss_and_grad(params, params, x, y, np.ones(1))[0])  # 8 - 2
    6.0
    """
    xp = array_namespace(x)
    moved, _ = monge_map(g, x, c, g_start)
    at_y, pull_y = picnn(f, y, c, f_start)
    at_moved, pull_moved = picnn(f, moved, c, f_start)
    loss = xp.mean(at_y) - xp.mean(at_moved)
    plus, _ = pull_y(xp.full_like(at_y, 1.0 / math.prod(at_y.shape)))
    minus, _ = pull_moved(xp.full_like(at_moved, -1.0 / math.prod(at_moved.shape)))
    return loss, _add(plus, minus)


def negative_kernels(params: Params, /) -> tuple[Array, dict[str, Array]]:
    """How far the network is from being convex by its kernels, ``Σ ‖relu(-W^z)‖_F``; gradient by layer.

    Equation: META-OT-16.

    Examples
    --------
    >>> size, d_kernels = negative_kernels({"layers": {"1": {"wz": np.asarray([[3.0], [-2.0]])}}})
    >>> float(size), d_kernels["1"].tolist()
    (2.0, [[0.0], [-1.0]])
    """
    check_floating(**_leaves(params))
    total, grads = 0.0, {}
    for name, layer in params["layers"].items():
        if "wz" in layer:
            wz = layer["wz"]
            xp = array_namespace(wz)
            below = xp.where(wz > 0, xp.zeros_like(wz), wz)  # NaN stays
            square = xp.sum(below * below)
            none = square == 0  # there the root has no slope, and 0 is one of its subgradients
            norm = xp.sqrt(xp.where(none, xp.ones_like(square), square))
            total = total + xp.where(none, square, norm)
            grads[name] = below / norm
    return total, grads


def clamp_kernels(params: Params, /) -> Params:
    """Parameters with ``W^z ≥ 0``: what is below 0 becomes 0.

    Equation: META-OT-16.

    Examples
    --------
    >>> clamp_kernels({"layers": {"1": {"wz": np.asarray([3.0, -2.0])}}})["layers"]["1"]["wz"].tolist()
    [3.0, 0.0]
    """
    check_floating(**_leaves(params))
    layers = {}
    for name, layer in params["layers"].items():
        wz = layer.get("wz")
        kept = {} if wz is None else {"wz": nonnegative(wz)}
        layers[name] = layer | kept
    return {**params, "layers": layers}


def _add(first: Any, second: Any) -> Any:
    if not isinstance(first, dict):
        return first + second
    return {name: _add(first[name], second[name]) for name in first}


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    """Arrays of nested dictionaries by their paths."""
    if not isinstance(tree, dict):
        return {path: tree}
    return {p: leaf for key, part in tree.items() for p, leaf in _leaves(part, f"{path}/{key}").items()}
