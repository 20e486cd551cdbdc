"""Wasserstein-2 generative networks: an optimal map and its inverse, as gradients of two convex potentials.

For the cost ``‖x - y‖²``

    W₂² = E‖x‖² + E‖y‖² - 2 min over convex ψ of E_α ψ(x) + E_β ψ̄(y),    ψ̄(y) = max over x of ⟨x, y⟩ - ψ(x),

and the optimal map is ``∇ψ``, its inverse ``∇ψ̄``. The maximum is not solved for while training: a second
network stands for the conjugate, so that ``x̂ = ∇ψ̄(y)`` is its place, and two cycle terms see to it that
the maps invert each other. A *pair* of networks here is ``{"potential": ψ, "conjugate": ψ̄}``, each as
``icnn.init_icnn`` returns it. Leading axes are problems, each with a pair of networks of its own.

References
----------
Korotin et al., "Wasserstein-2 generative networks", 2021; Amos et al., "Meta optimal transport", 2023,
section 4.2.
"""

from typing import TYPE_CHECKING

from refwfm._array import Array, array_namespace, asarray_like, check_floating, sq_frobenius, sq_norm
from refwfm.meta.icnn import (
    CORE_AXES,
    check_icnn,
    gradient_map,
    hessian_product,
    init_icnn,
    potential,
    potential_and_map,
    ravel,
)
from refwfm.networks.layers import Params

if TYPE_CHECKING:
    from numpy.random import Generator

CYCLE, PENALTY = 3.0, 1e-6
"""Weights γ of the cycle terms and λ of the mean squared parameter, as published."""


def init_pair(rng: "Generator", d: int = 3, /, *, like: Array, width: int = 128) -> Params:
    """Draw the parameters of a pair of networks: ``potential`` and ``conjugate``."""
    return {name: init_icnn(rng, d, like=like, width=width) for name in ("potential", "conjugate")}


def w2gn_loss_and_grad(
    pair: Params, x: Array, y: Array, /, *, cycle: float = CYCLE, penalty: float = PENALTY
) -> tuple[Array, Params]:
    """Loss of a pair of networks, and its gradient.

    Equation: META-OT-11. With ``x̂ = ∇ψ̄(y)``, ``ŷ = ∇ψ(x)``, and sg for what counts as a constant,

        E ψ(x) + E [⟨sg x̂, y⟩ - ψ(sg x̂)] + γ (‖∇ψ(x̂) - y‖² + ‖∇ψ̄(ŷ) - x‖²) + λ (mean φ² + mean φ̄²),

    squared norms being means over points *and* coordinates. The conjugate learns from the cycle terms alone.
    (The paper of Meta OT prints the first cycle term only; its code has both.)

    Parameters
    ----------
    pair : dict
        ``potential`` and ``conjugate``.
    x, y : array, shape (..., n, d) and (..., m, d)
        Points of the two measures, of equal weight.
    cycle, penalty : float
        γ and λ.

    Returns
    -------
    loss : array, shape (...)
        One for each problem.
    grads : dict like ``pair``
        Of the sum of the losses.

    Examples
    --------
    >>> from refwfm.meta.icnn import quadratic_parameters
    >>> half_square = quadratic_parameters(np.eye(1), np.zeros(1), width=1)
    >>> pair, x = dict.fromkeys(("potential", "conjugate"), half_square), np.asarray([[2.0]])
    >>> float(w2gn_loss_and_grad(pair, x, x, penalty=0.0)[0].round(9))  # 2 + 4 - 2: half of x², twice
    4.0
    """
    check_pair(pair, x, y)
    psi, conj = pair["potential"], pair["conjugate"]
    x_hat, pull_x_hat = gradient_map(conj, y)
    at_x, y_hat, pull_at_x = potential_and_map(psi, x)
    at_x_hat, y_again, pull_at_x_hat = potential_and_map(psi, x_hat)
    x_again, pull_x_again = gradient_map(conj, y_hat)
    xp = array_namespace(x)
    residual_y, residual_x = y_again - y, x_again - x

    correlation = _mean(at_x) + _mean(xp.sum(x_hat * y, axis=-1) - at_x_hat)
    cycles = _mean_square(residual_y) + _mean_square(residual_x)
    loss = correlation + cycle * cycles + penalty * (_size(psi) + _size(conj))

    d_y_again = (2.0 * cycle / (y.shape[-2] * y.shape[-1])) * residual_y
    d_x_again = (2.0 * cycle / (x.shape[-2] * x.shape[-1])) * residual_x
    d_conj, d_y_hat = pull_x_again(d_x_again)
    d_psi, _ = pull_at_x(xp.full_like(at_x, 1.0 / x.shape[-2]), d_y_hat)
    more_psi, _ = pull_at_x_hat(xp.full_like(at_x_hat, -1.0 / y.shape[-2]), d_y_again)
    # What the correlation says of x̂ is dropped: only the cycle term, through the Hessian, reaches it.
    more_conj, _ = pull_x_hat(hessian_product(psi, d_y_again))
    return loss, {
        "potential": _add(d_psi, more_psi, _size_gradient(psi, penalty)),
        "conjugate": _add(d_conj, more_conj, _size_gradient(conj, penalty)),
    }


def identity_loss_and_grad(pair: Params, x: Array, /, *, penalty: float = PENALTY) -> tuple[Array, Params]:
    """Loss that makes both maps the identity, and its gradient.

    Equation: META-OT-14. ``‖∇ψ(x) - x‖² + ‖∇ψ̄(x) - x‖² + λ (mean φ² + mean φ̄²)``, squared norms being
    means over points and coordinates.

    Parameters
    ----------
    pair : dict
        ``potential`` and ``conjugate``.
    x : array, shape (..., n, d)
        Points where the maps are to move nothing.
    penalty : float
        λ.

    Returns
    -------
    loss : array, shape (...)
    grads : dict like ``pair``

    Examples
    --------
    >>> from refwfm.meta.icnn import quadratic_parameters
    >>> pair = dict.fromkeys(("potential", "conjugate"), quadratic_parameters(np.eye(1), np.ones(1), width=1))
    >>> float(identity_loss_and_grad(pair, np.zeros((5, 1)), penalty=0.0)[0])  # both move by 1
    2.0
    """
    check_pair(pair, x, x)
    loss, grads = 0.0, {}
    for name, params in pair.items():
        gradient, pullback = gradient_map(params, x)
        residual = gradient - x
        loss = loss + _mean_square(residual) + penalty * _size(params)
        d_params, _ = pullback((2.0 / (x.shape[-2] * x.shape[-1])) * residual)
        grads[name] = _add(d_params, _size_gradient(params, penalty))
    return loss, grads


def conjugate(
    params: Params,
    y: Array,
    /,
    *,
    low: float = 0.0,
    high: float = 1.0,
    tol: float = 1e-4,
    max_iter: int = 100,
    max_halvings: int = 30,
) -> Array:
    """Points where ``ψ(x) - ⟨x, y⟩`` is least in a box: the conjugate's, ``ψ̄(y) = ⟨x̂, y⟩ - ψ(x̂)``.

    Equation: META-OT-12. Projected gradient from ``x = y``, with step 1, halved until the value falls by at
    least a tenth of what the slope promises (Armijo). In the box the conjugate is finite even where ψ has no
    quadratic part. A point stops when its own mean squared move is below ``tol``. (In the published code all
    stop together, when the mean over the points is: there the answer for one depends on the others.) An
    inexact x̂ only lowers ``⟨x̂, y⟩ - ψ(x̂)``; a small move is no proof of a small slope where ψ is nearly flat.

    Parameters
    ----------
    params : dict
        Of ψ; leading axes are networks.
    y : array, shape (..., n, d)
    low, high : float
        The box; infinite for none.
    tol : float
        In the square of the unit of x.
    max_iter, max_halvings : int

    Returns
    -------
    array, shape (..., n, d)
        NaN where y or ψ is.

    Examples
    --------
    >>> from refwfm.meta.icnn import quadratic_parameters
    >>> params = quadratic_parameters(2.0 * np.eye(1), np.zeros(1), width=1)
    >>> y = np.asarray([[1.0], [4.0]])
    >>> conjugate(params, y, tol=1e-12).round(6).tolist()  # of x² - x y: at y / 2, if that is in the box
    [[0.5], [1.0]]
    """
    check_icnn(params, y, "y")
    xp = array_namespace(y)
    y = y + xp.zeros_like(params["linear"])[..., None, :]
    x = _project(y, low, high)
    moving = xp.ones_like(y[..., 0]) > 0
    for _ in range(max_iter):
        value, gradient, _ = potential_and_map(params, x)
        value, slope = value - xp.sum(x * y, axis=-1), gradient - y
        step = xp.ones_like(value)
        for _ in range(max_halvings + 1):
            new = _project(x - step[..., None] * slope, low, high)
            reached, after, _ = potential_and_map(params, new)
            reached, promised = reached - xp.sum(new * y, axis=-1), xp.sum(slope * (new - x), axis=-1)
            # By convexity the value falls by no less than the slope there says, known to more digits.
            surely = xp.sum((after - y) * (new - x), axis=-1) <= 0.1 * promised
            enough = surely | (reached <= value + 0.1 * promised)
            if not bool(xp.any(moving & ~enough)):
                break
            step = xp.where(enough, step, 0.5 * step)
        new = xp.where((moving & (enough | xp.isnan(reached)))[..., None], new, x)
        moving = moving & (sq_norm(new - x) >= tol * y.shape[-1])
        x = new
        if not bool(xp.any(moving)):
            break
    return x


def dual_value(params: Params, x: Array, y: Array, /, **options: float) -> Array:
    """Dual value of a convex potential, ``-[E ψ(x) + E (⟨x̂, y⟩ - ψ(x̂))]`` with x̂ by ``conjugate``.

    Equation: META-OT-12. The larger the better. Of the optimal potential it is ``(W₂² - E‖x‖² - E‖y‖²) /
    2``, and no potential has more, provided that its conjugate is exact and that the box holds the x. An
    inexact x̂ raises it: what a potential gains by a smaller ``tol`` is lost here. ``options`` are those of
    ``conjugate``.

    Parameters
    ----------
    params : dict
        Of ψ; leading axes are networks.
    x, y : array, shape (..., n, d) and (..., m, d)
        Points of the two measures, of equal weight.

    Returns
    -------
    array, shape (...). Units: data squared.

    Examples
    --------
    >>> from refwfm.meta.icnn import quadratic_parameters
    >>> params = quadratic_parameters(np.eye(1), np.zeros(1), width=1)
    >>> x, y = np.asarray([[0.0], [1.0]]), np.asarray([[0.5], [0.5]])
    >>> float(dual_value(params, x, y).round(9))  # -(1/4 + 1/8)
    -0.375
    """
    check_icnn(params, x)
    xp = array_namespace(x)
    x_hat = conjugate(params, y, **options)  # type: ignore[arg-type]
    attained = xp.sum(x_hat * y, axis=-1) - potential(params, x_hat)[0]
    return -(_mean(potential(params, x)[0]) + _mean(attained))


def normalised_dual_values(*runs: Array) -> tuple[Array, ...]:
    """Dual values of several runs on one problem, from 0, the least of all, to 1, the largest.

    Equation: META-OT-15. Where all are equal there is nothing to tell them apart by, and all are 1: the best
    seen.

    Parameters
    ----------
    *runs : array, shape (..., k)
        What each run logged; leading axes are problems.

    Returns
    -------
    tuple of arrays like ``runs``

    Raises
    ------
    ValueError
        If there is no value.

    Examples
    --------
    >>> [run.tolist() for run in normalised_dual_values(np.asarray([-3.0, -1.0]), np.asarray([-2.0]))]
    [[0.0, 1.0], [0.5]]
    """
    if not runs:
        raise ValueError("normalised_dual_values needs at least one run, of at least one value")
    xp = check_floating(**{f"run {i + 1}": run for i, run in enumerate(runs)})
    if any(run.ndim < 1 or 0 in run.shape for run in runs):
        shapes = ", ".join(str(tuple(run.shape)) for run in runs)
        raise ValueError(f"runs must have at least one value each, shape (..., k); got {shapes}")
    values = xp.concat(list(runs), axis=-1)
    least, largest = xp.min(values, axis=-1, keepdims=True), xp.max(values, axis=-1, keepdims=True)
    span = largest - least
    same = span == 0
    return tuple(
        xp.where(same, xp.ones_like(run), (run - least) / xp.where(same, xp.ones_like(span), span))
        for run in runs
    )


def transfer_colours(
    params: Params, picture: Array, /, *, low: float = 0.0, high: float = 1.0, rows: int = 2**16
) -> Array:
    """Apply the map ``∇ψ`` to every pixel of a picture, and clip to the box of colours.

    Equation: META-OT-10. With ``pair["potential"]`` the first picture gets the colours of the second, with
    ``pair["conjugate"]`` the second those of the first.

    Parameters
    ----------
    params : dict
        Of one network, without a batch.
    picture : array, shape (..., d)
        Colours in [0, 1]: (height, width, 3).
    low, high : float
    rows : int
        How many pixels at once: no influence on the result.

    Returns
    -------
    array like ``picture``

    Examples
    --------
    >>> from refwfm.meta.icnn import quadratic_parameters
    >>> params = quadratic_parameters(np.eye(3), np.full(3, 0.25), width=1)
    >>> transfer_colours(params, np.asarray([[[0.0, 0.5, 1.0]]])).round(9).tolist()  # brighter
    [[[0.25, 0.75, 1.0]]]
    """
    xp, d = array_namespace(picture), picture.shape[-1]
    pixels = xp.reshape(picture, (-1, d))
    count = pixels.shape[0]
    starts = range(0, max(1, count), rows)
    moved = [gradient_map(params, pixels[i : min(i + rows, count), :])[0] for i in starts]
    return xp.reshape(_project(xp.concat(moved, axis=0), low, high), picture.shape)


def check_pair(pair: Params, x: Array, y: Array, /) -> None:
    """Raise unless ``pair`` holds the parameters of two networks that read the points x and y.

    Raises
    ------
    TypeError, ValueError
        If a network is missing, or does not fit the points.
    """
    if not isinstance(pair, dict) or pair.keys() != {"potential", "conjugate"}:
        got = sorted(pair) if isinstance(pair, dict) else type(pair).__name__
        raise TypeError(f"a pair of networks is a dictionary of 'potential' and 'conjugate'; got {got}")
    check_floating(x=x, y=y)
    check_icnn(pair["potential"], x)
    check_icnn(pair["conjugate"], y, "y")
    if tuple(x.shape[:-2]) != tuple(y.shape[:-2]):
        raise ValueError(f"x and y must have the same batch axes; got {tuple(x.shape)} and {tuple(y.shape)}")


def _project(x: Array, low: float, high: float) -> Array:
    """Nearest point of the box; NaN stays NaN."""
    xp = array_namespace(x)
    x = xp.where(x < low, asarray_like(low, x), x)
    return xp.where(x > high, asarray_like(high, x), x)


def _mean(values: Array) -> Array:
    return array_namespace(values).mean(values, axis=-1)


def _mean_square(residual: Array) -> Array:
    """Mean over points and coordinates."""
    return sq_frobenius(residual) / (residual.shape[-2] * residual.shape[-1])


def _size(params: Params) -> Array:
    """Mean squared parameter, shape (...)."""
    flat = ravel(params)
    return sq_norm(flat) / flat.shape[-1]


def _size_gradient(params: Params, penalty: float) -> Params:
    count = ravel(params).shape[-1]
    return {name: (2.0 * penalty / count) * params[name] for name in CORE_AXES}


def _add(*grads: Params) -> Params:
    return {name: sum((grad[name] for grad in grads[1:]), grads[0][name]) for name in CORE_AXES}
