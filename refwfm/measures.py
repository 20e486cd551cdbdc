"""The samples of this package: probability measures, here Gaussians.

A *family* of N Gaussians on R^d is one ``Gaussian`` with a leading axis of length N. Leading axes
are batch axes everywhere; a single Gaussian has none.
"""

from itertools import zip_longest
from typing import Any, NamedTuple

from refwfm._array import Array, all_finite, array_namespace, device, eps, matvec, symmetrize, transpose


class Gaussian(NamedTuple):
    """The normal distribution N(mean, cov), or a batch of them.

    Attributes
    ----------
    mean : array, shape (..., d). Units: data.
    cov : array, shape (..., d, d), symmetric positive semi-definite. Units: data squared.
    """

    mean: Array
    cov: Array


class SingularCovarianceError(ValueError):
    """A quantity was asked for that does not exist for this singular covariance."""


def check_gaussian(mu: Gaussian, /, name: str = "mu", *, validate: bool = True) -> Gaussian:
    """Check shapes (always) and values (``validate``) of Gaussians; return them symmetrised.

    Parameters
    ----------
    mu : Gaussian, mean (..., d), cov (..., d, d)
    name : str
        What the error calls the argument.
    validate : bool
        Also check values: finite, symmetric up to 1e-8 (float32: 1e-4) and positive semi-definite up to
        ``100 d eps`` relative to the largest eigenvalue. On a GPU this waits for the device.

    Returns
    -------
    Gaussian
        The same measures, with exactly symmetric covariances when ``validate``.

    Raises
    ------
    TypeError
        If mean and covariance are of different or integer dtypes.
    ValueError
        If shapes disagree, or a value check fails.
    """
    mean, cov = mu
    xp = array_namespace(mean, cov)
    if mean.ndim < 1 or cov.ndim != mean.ndim + 1 or tuple(cov.shape) != (*mean.shape, mean.shape[-1]):
        raise ValueError(
            f"{name}: mean must have shape (..., d) and cov (..., d, d) with the same leading axes; "
            f"got mean {tuple(mean.shape)} and cov {tuple(cov.shape)}"
        )
    if mean.shape[-1] == 0:
        raise ValueError(f"{name}: the dimension d must be at least 1; got mean of shape {tuple(mean.shape)}")
    if mean.dtype != cov.dtype or not xp.isdtype(mean.dtype, "real floating"):
        raise TypeError(
            f"{name}: mean and cov must have the same real floating dtype; got {mean.dtype} and {cov.dtype}"
        )
    if not validate or 0 in mean.shape:
        return mu
    for part, value in (("mean", mean), ("cov", cov)):
        if not all_finite(value):
            raise ValueError(f"{name}.{part} must be finite; got NaN or infinity")
    return Gaussian(mean, check_psd(cov, f"{name}.cov"))


def check_psd(cov: Array, /, name: str = "cov") -> Array:
    """Raise unless the finite matrices ``cov`` (..., d, d) are symmetric PSD; return them symmetrised."""
    xp = array_namespace(cov)
    size = xp.max(xp.abs(cov), axis=(-2, -1))
    asymmetry = xp.max(xp.abs(cov - transpose(cov)), axis=(-2, -1))
    tolerance = 1e-8 if eps(cov) < 1e-10 else 1e-4
    if bool(xp.any(asymmetry > tolerance * size)):
        raise ValueError(
            f"{name} must be symmetric; got an asymmetry of {float(xp.max(asymmetry)):.3g} "
            f"(allowed: {tolerance:g} of the largest entry); use 0.5 * (cov + cov^T) if it is rounding"
        )
    cov = symmetrize(cov)
    # The largest entry bounds every |eigenvalue| from below by itself and from above by d times itself.
    lowest = xp.linalg.eigvalsh(cov)[..., 0]
    if bool(xp.any(lowest < -100 * cov.shape[-1] * eps(cov) * size)):
        raise ValueError(
            f"{name} must be positive semi-definite; got an eigenvalue of {float(xp.min(lowest)):.3g}; "
            "bures.project_psd gives the nearest positive semi-definite matrix"
        )
    return cov


def check_pair(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> tuple[Gaussian, Gaussian]:
    """Check two Gaussians, or batches that broadcast, as ``check_gaussian`` does; return them symmetrised."""
    array_namespace(mu.mean, mu.cov, nu.mean, nu.cov)  # raises TypeError on mixed libraries
    mu = check_gaussian(mu, "mu", validate=validate)
    nu = check_gaussian(nu, "nu", validate=validate)
    _check_same_space(mu, nu)
    check_broadcast(mu=mu.mean.shape[:-1], nu=nu.mean.shape[:-1])
    return mu, nu


def check_families(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> tuple[Gaussian, Gaussian]:
    """Check two families, mean (n, d) and (m, d), as ``check_gaussian`` does; return them symmetrised."""
    for name, family in (("mu", mu), ("nu", nu)):
        if family.mean.ndim != 2:
            raise ValueError(
                f"{name} must be a family, mean (n, d) and cov (n, d, d); got mean {tuple(family.mean.shape)}"
            )
    array_namespace(mu.mean, mu.cov, nu.mean, nu.cov)
    _check_same_space(mu, nu)
    return check_gaussian(mu, "mu", validate=validate), check_gaussian(nu, "nu", validate=validate)


def _check_same_space(mu: Gaussian, nu: Gaussian) -> None:
    if mu.mean.dtype != nu.mean.dtype:
        raise TypeError(f"mu and nu must have the same dtype; got {mu.mean.dtype} and {nu.mean.dtype}")
    if mu.mean.shape[-1] != nu.mean.shape[-1]:
        raise ValueError(
            f"mu and nu must live in the same dimension; got d = {mu.mean.shape[-1]} and {nu.mean.shape[-1]}"
        )


def check_broadcast(**batches: tuple[int, ...]) -> None:
    """Raise unless these shapes broadcast."""
    for sizes in zip_longest(*(reversed(shape) for shape in batches.values()), fillvalue=1):
        if len({*sizes} - {1}) > 1:
            got = ", ".join(f"{name} {tuple(shape)}" for name, shape in batches.items())
            raise ValueError(f"the batches of {', '.join(batches)} must broadcast; got {got}")


def take(mu: Gaussian, index: Any, /) -> Gaussian:
    """Members ``index`` (B,) of a family, in that order: mean (B, d), cov (B, d, d).

    ``index`` may live on the host (NumPy) whatever the library of the family.
    """
    xp = array_namespace(mu.mean)
    index = xp.asarray(index, device=device(mu.mean))
    return Gaussian(xp.take(mu.mean, index, axis=0), xp.take(mu.cov, index, axis=0))


def rescale(mu: Gaussian, factor: float, /) -> Gaussian:
    """Law of ``factor * x`` for x ~ mu: squared distances are multiplied by ``factor²``."""
    return Gaussian(factor * mu.mean, factor * (factor * mu.cov))


def moments(points: Array, weights: Array | None = None, /) -> Gaussian:
    """Mean and covariance of point clouds: the Gaussian with the same first two moments.

    Equation: WFM-24 (its arguments). ``mean = Σ wᵢ xᵢ``, ``cov = Σ wᵢ (xᵢ - mean)(xᵢ - mean)ᵀ``: the
    covariance *of the measure itself*, so nothing is divided by n - 1.

    Parameters
    ----------
    points : array, shape (..., n, d)
    weights : array, shape (..., n), optional
        Non-negative, summing to 1 along the last axis. Uniform when left out. Rows of weight zero are
        padding: whatever they hold, NaN included, has no effect.

    Returns
    -------
    Gaussian, mean (..., d), cov (..., d, d)

    Raises
    ------
    ValueError
        If a cloud is empty, the weights' shape differs, or the weights are negative or do not sum to 1.
    """
    if points.ndim < 2 or 0 in points.shape[-2:]:
        raise ValueError(f"points must have shape (..., n, d) with n, d >= 1; got {tuple(points.shape)}")
    if weights is None:
        xp = array_namespace(points)
        weights = xp.full(points.shape[:-1], 1 / points.shape[-2], dtype=points.dtype, device=device(points))
    else:
        xp = array_namespace(points, weights)
        _check_weights(weights, points)
        points = xp.where((weights > 0)[..., None], points, xp.zeros_like(points))
    if not all_finite(points):
        raise ValueError("points must be finite where their weight is positive; got NaN or infinity")
    mean = matvec(transpose(points), weights)
    centred = points - mean[..., None, :]
    return Gaussian(mean, symmetrize(transpose(centred) @ (weights[..., None] * centred)))


def _check_weights(weights: Array, points: Array) -> None:
    xp = array_namespace(weights)
    if tuple(weights.shape) != tuple(points.shape[:-1]):
        raise ValueError(
            f"weights must have shape {tuple(points.shape[:-1])} like points without its last axis; "
            f"got {tuple(weights.shape)}"
        )
    tolerance = 1e-6 if eps(weights) < 1e-10 else 1e-3
    total = xp.sum(weights, axis=-1)
    if not bool(xp.all(weights >= 0)) or bool(xp.any(xp.abs(total - 1.0) > tolerance)):
        raise ValueError("weights must be non-negative and sum to 1 along their last axis")
