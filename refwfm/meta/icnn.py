"""Input-convex networks: convex functions whose gradients are maps of optimal transport.

A map is optimal for the cost ``‖x - y‖²`` if and only if it is the gradient of a convex function (Brenier).
So a network that is convex in its input, whatever its parameters, can be nothing but the potential of an
optimal map. The network here has one hidden layer,

    ψ(x) = wᵀ σ(U x + c) + vᵀ x + d₀ + ‖L x‖²,    w = softplus(ω) > 0,

with the leaky rectifier σ: a sum of positive multiples of convex ridges, and a quadratic. Between the kinks
the slope ``s = σ'(U x + c)`` is constant, and so everything has a closed form,

    ψ(x) = ⟨x, Uᵀ(w s)⟩ + ⟨c, w s⟩ + ...,    ∇ψ(x) = Uᵀ(w s) + v + 2 LᵀL x,    Hessian 2 LᵀL,

from which both the map and its derivatives with respect to the parameters are written down. No library needs
to differentiate, and none would be asked for second derivatives.

Parameters may have leading axes: then each member of the batch has a network of its own, as a hypernetwork
predicts them.

References
----------
Amos, Xu and Kolter, "Input convex neural networks", 2017; Korotin et al., "Wasserstein-2 generative
networks", 2021.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from refwfm import psd
from refwfm._array import (
    Array,
    array_namespace,
    asarray_like,
    check_floating,
    device,
    expand,
    matvec,
    sq_norm,
    summed_to,
    transpose,
)
from refwfm.networks.activations import leaky_slope, softplus
from refwfm.networks.layers import Params, Pullback

if TYPE_CHECKING:
    from numpy.random import Generator

SLOPE = 0.01
"""Of the leaky rectifier below 0."""

CORE_AXES = {"hidden": 2, "bias": 1, "omega": 1, "linear": 1, "constant": 0, "quadratic": 2}
"""Parameters in the order of the flat vector, and how many axes each has without those of a batch."""


def init_icnn(rng: "Generator", d: int = 3, /, *, like: Array, width: int = 128) -> Params:
    """Draw the parameters of an input-convex network.

    ``U, v, ω ~ N(0, 0.1²)``, ``L ~ N(0, 0.01²)``, the rest 0: for d = 3 and width 128 they are 653 numbers.

    Returns
    -------
    dict
        ``hidden`` U (width, d), ``bias`` c (width,), ``omega`` ω (width,), ``linear`` v (d,), ``constant``
        d₀ (), ``quadratic`` L (d, d).
    """
    xp = array_namespace(like)
    draws = {"hidden": ((width, d), 0.1), "omega": ((width,), 0.1), "linear": ((d,), 0.1)}
    draws["quadratic"] = ((d, d), 0.01)
    params = {
        name: asarray_like(std * rng.standard_normal(shape), like) for name, (shape, std) in draws.items()
    }
    for name, shape in (("bias", (width,)), ("constant", ())):
        params[name] = xp.zeros(shape, dtype=like.dtype, device=device(like))
    return {name: params[name] for name in CORE_AXES}


def n_parameters(d: int = 3, width: int = 128) -> int:
    """Count the parameters of a network.

    Equation: none. A count.

    Examples
    --------
    >>> n_parameters(3, 128)
    653
    """
    return width * (d + 2) + d + 1 + d * d


def ravel(params: Params, /) -> Array:
    """Parameters as vectors, shape (..., P).

    Equation: none. The same numbers, in the order of ``CORE_AXES``.

    Examples
    --------
    >>> ravel(unravel(np.arange(11.0), d=2, width=1)).tolist() == np.arange(11.0).tolist()
    True
    """
    xp = check_floating(**params)
    batch = params["constant"].shape
    return xp.concat([xp.reshape(params[name], (*batch, -1)) for name in CORE_AXES], axis=-1)


def unravel(vector: Array, /, *, d: int = 3, width: int = 128) -> Params:
    """Parameters of networks from vectors (..., P): the inverse of ``ravel``, and its pullback.

    Equation: none. The same numbers.

    Raises
    ------
    ValueError
        If the vectors have another length than ``n_parameters(d, width)``.

    Examples
    --------
    >>> unravel(np.arange(11.0), d=2, width=1)["linear"].tolist()
    [4.0, 5.0]
    """
    xp = check_floating(vector=vector)
    shapes = {"hidden": (width, d), "bias": (width,), "omega": (width,)}
    shapes |= {"linear": (d,), "constant": (), "quadratic": (d, d)}
    sizes = [math.prod(shape) for shape in shapes.values()]
    if vector.ndim < 1 or vector.shape[-1] != sum(sizes):
        raise ValueError(
            f"vector must have a last axis of length {sum(sizes)}, the number of parameters for d = {d} and "
            f"width = {width}; got shape {tuple(vector.shape)}"
        )
    params, start = {}, 0
    for (name, shape), size in zip(shapes.items(), sizes, strict=True):
        params[name] = xp.reshape(vector[..., start : start + size], (*vector.shape[:-1], *shape))
        start += size
    return params


def check_icnn(params: Params, x: Array, /, name: str = "x") -> None:
    """Raise unless ``params`` are those of networks, and ``x`` (..., n, d) are points that they read.

    Raises
    ------
    TypeError, ValueError
        If a parameter is missing or has another shape, or the batch axes of networks and points do not
        broadcast.
    """
    if not isinstance(params, dict) or params.keys() != CORE_AXES.keys():
        got = sorted(params) if isinstance(params, dict) else type(params).__name__
        raise TypeError(f"the parameters of an input-convex network are {sorted(CORE_AXES)}; got {got}")
    check_floating(**{name: x}, **params)
    *batch, width, d = params["hidden"].shape
    core = {"hidden": (width, d), "bias": (width,), "omega": (width,), "linear": (d,), "constant": ()}
    core["quadratic"] = (d, d)
    for key, shape in core.items():
        if tuple(params[key].shape) != (*batch, *shape):
            raise ValueError(
                f"{key} must have shape {(*batch, *shape)} to fit hidden {tuple(params['hidden'].shape)}; "
                f"got {tuple(params[key].shape)}"
            )
    points = x.shape[:-2]
    fit = all(1 in (a, b) or a == b for a, b in zip(reversed(batch), reversed(points), strict=False))
    if x.ndim < 2 or x.shape[-1] != d or not fit:
        raise ValueError(
            f"{name} must have shape (..., n, {d}) with batch axes {tuple(batch)}; got {tuple(x.shape)}"
        )


def potential(params: Params, x: Array, /) -> tuple[Array, Pullback]:
    """Convex function ``ψ(x) = wᵀ σ(U x + c) + vᵀ x + d₀ + ‖L x‖²``.

    Equation: META-OT-10.

    Parameters
    ----------
    params : dict
        As ``init_icnn`` returns them; leading axes are networks.
    x : array, shape (..., n, d)

    Returns
    -------
    value : array, shape (..., n)
    pullback : function
        ``d_value -> (d_params, d_x)``.

    Examples
    --------
    >>> params = quadratic_parameters(np.eye(2), np.asarray([1.0, 0.0]), width=3)
    >>> potential(params, np.asarray([[2.0, 0.0]]))[0].tolist()  # half of 4, and 2
    [4.0]
    """
    value, gradient, pullback = potential_and_map(params, x)
    return value, lambda d_value: pullback(d_value, array_namespace(gradient).zeros_like(gradient))


def gradient_map(params: Params, x: Array, /) -> tuple[Array, Pullback]:
    """Map ``T(x) = ∇ψ(x) = Uᵀ(w s) + v + 2 LᵀL x``, monotone; ``s = σ'(U x + c)``.

    Equation: META-OT-10. Constant ``s`` has no derivative: with the upstream gradient e that of w is ``s (U
    e)``, of U ``(w s) eᵀ``, of v e, of L ``2 L (e xᵀ + x eᵀ)``, of x ``2 LᵀL e``.

    Parameters
    ----------
    params : dict
        As ``init_icnn`` returns them; leading axes are networks.
    x : array, shape (..., n, d)

    Returns
    -------
    gradient : array, shape (..., n, d)
    pullback : function
        ``d_gradient -> (d_params, d_x)``.

    Examples
    --------
    >>> params = quadratic_parameters(3.0 * np.eye(2), np.asarray([1.0, 0.0]), width=3)
    >>> gradient_map(params, np.asarray([[2.0, 0.0]]))[0].round(9).tolist()
    [[7.0, 0.0]]
    """
    value, gradient, pullback = potential_and_map(params, x)
    return gradient, lambda d_gradient: pullback(array_namespace(value).zeros_like(value), d_gradient)


def potential_and_map(params: Params, x: Array, /) -> tuple[Array, Array, Callable[[Array, Array], Any]]:
    """Value and gradient of the convex function, which share all that takes time.

    Equation: META-OT-10.

    Returns
    -------
    value : array, shape (..., n)
    gradient : array, shape (..., n, d)
    pullback : function
        ``(d_value, d_gradient) -> (d_params, d_x)``: of both together.

    Examples
    --------
    >>> params = quadratic_parameters(np.eye(1), np.zeros(1), width=1)
    >>> [part.round(9).tolist() for part in potential_and_map(params, np.asarray([[2.0]]))[:2]]
    [[2.0], [[2.0]]]
    """
    check_icnn(params, x)
    xp = array_namespace(x)
    U, c, L = params["hidden"], params["bias"], params["quadratic"]
    w, softplus_pullback = softplus(params["omega"])
    s = leaky_slope(x @ transpose(U) + c[..., None, :], slope=SLOPE)  # (..., n, width)
    # The slopes hide an infinite bias; c - c does not.
    ridges = s @ ((w + (c - c))[..., None] * U)
    Lx = x @ transpose(L)
    affine = ridges + params["linear"][..., None, :]
    value = xp.sum(x * affine, axis=-1) + matvec(s, w * c) + expand(params["constant"], 1) + sq_norm(Lx)
    gradient = affine + 2.0 * (Lx @ L)

    def pullback(d_value: Array, d_gradient: Array) -> tuple[Params, Array]:
        g, e = d_value[..., None], d_gradient
        t = g * x + e  # what moves with Uᵀ(w s)
        s_t = transpose(s) @ t  # (..., width, d)
        s_g = matvec(transpose(s), d_value)
        d_w = xp.sum(U * s_t, axis=-1) + c * s_g
        outer = transpose(x) @ t + transpose(e) @ x  # Σ g x xᵀ + x eᵀ + e xᵀ
        d_params = {
            "hidden": w[..., None] * s_t,
            "bias": w * s_g,
            "omega": softplus_pullback(d_w),
            "linear": xp.sum(t, axis=-2),
            "constant": xp.sum(d_value, axis=-1),
            "quadratic": 2.0 * (L @ outer),
        }
        shared = {name: summed_to(grad, params[name].shape) for name, grad in d_params.items()}
        return shared, summed_to(g * gradient + hessian_product(params, e), tuple(x.shape))

    return value, gradient, pullback


def hessian_product(params: Params, e: Array, /) -> Array:
    """Product of the Hessian with vectors (..., n, d), ``2 LᵀL e``, almost everywhere.

    Equation: META-OT-10.

    Examples
    --------
    >>> params = quadratic_parameters(3.0 * np.eye(2), np.zeros(2), width=1)
    >>> hessian_product(params, np.asarray([[1.0, 0.0]])).round(9).tolist()
    [[3.0, 0.0]]
    """
    check_floating(e=e, **params)
    L = params["quadratic"]
    return 2.0 * (e @ transpose(L) @ L)


def quadratic_parameters(A: Array, q: Array, /, *, width: int = 128) -> Params:
    """Parameters for which ``ψ(x) = xᵀ A x / 2 + ⟨q, x⟩`` and ``∇ψ(x) = A x + q``: all ridges are 0.

    Equation: META-OT-10. ``2 LᵀL = A`` with the principal root, U = 0. So the network holds the optimal map
    between two Gaussians exactly: ``A = bures.gelbrich_map``, ``q = m_β - A m_α``. (A network to be trained
    starts from ``hypernetwork.gaussian_start``, whose ridges are alive.)

    Parameters
    ----------
    A : array, shape (..., d, d)
        Symmetric, positive semi-definite.
    q : array, shape (..., d)

    Examples
    --------
    >>> quadratic_parameters(2.0 * np.eye(1), np.ones(1), width=1)["quadratic"].tolist()
    [[1.0]]
    """
    xp = check_floating(A=A, q=q)
    batch, d = q.shape[:-1], q.shape[-1]
    zeros = {"hidden": (width, d), "bias": (width,), "omega": (width,), "constant": ()}
    params = {
        name: xp.zeros((*batch, *shape), dtype=q.dtype, device=device(q)) for name, shape in zeros.items()
    }
    params |= {"linear": q, "quadratic": psd.sqrtm(0.5 * A)}
    return {name: params[name] for name in CORE_AXES}
