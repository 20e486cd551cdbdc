"""The samples of this package: probability measures, either Gaussians or weighted point clouds.

A *family* of N Gaussians on R^d is one ``Gaussian`` with a leading axis of length N; the same holds for
clouds. Leading axes are batch axes everywhere; a single measure has none. What point clouds need besides
(padding, checks, moments) is in ``clouds``.
"""

from itertools import zip_longest
from typing import Any, NamedTuple, TypeVar

from refwfm._array import (
    Array,
    all_finite,
    array_namespace,
    asarray_like,
    check_floating,
    is_array,
    machine_eps,
    on_device_of,
    symmetrize,
    transpose,
)


class Gaussian(NamedTuple):
    """The normal distribution N(mean, cov), or a batch of them.

    Attributes
    ----------
    mean : array, shape (..., d). Units: data.
    cov : array, shape (..., d, d), symmetric positive semi-definite. Units: data squared.
    """

    mean: Array
    cov: Array


class PointCloud(NamedTuple):
    """The measure ``Σ weights_i δ(points_i)``, or a batch of them in rows of equal length.

    A row of weight 0 is padding: it makes clouds of different sizes fit into one array, and whatever it
    holds has no effect.

    Attributes
    ----------
    points : array, shape (..., n, d). Units: data.
    weights : array, shape (..., n), non-negative, summing to 1 along the last axis.
    """

    points: Array
    weights: Array


Measure = TypeVar("Measure", Gaussian, PointCloud)


class SingularCovarianceError(ValueError):
    """A quantity was asked for that does not exist for this singular covariance."""


class NonFiniteError(ValueError):
    """A matrix with NaN or infinity in it could not be decomposed."""


def check_gaussian(mu: Gaussian, /, name: str = "mu", *, validate: bool = True) -> Gaussian:
    """Check shapes (always) and values (``validate``) of Gaussians; return them symmetrised.

    Parameters
    ----------
    mu : Gaussian, mean (..., d), cov (..., d, d)
    name : str
        What the error calls the argument.
    validate : bool
        Also check values: finite, not so large that squared distances overflow, symmetric up to 1e-8
        (float32: 1e-4) and positive semi-definite up to ``100 d eps`` relative to the largest entry. On a GPU
        this waits for the device.

    Returns
    -------
    Gaussian
        The same measures, with exactly symmetric covariances when ``validate``.

    Raises
    ------
    TypeError
        If mu is no ``Gaussian``, or its parts are no arrays of one floating dtype (``check_floating``).
    ValueError
        If shapes disagree, or a value check fails.
    """
    mean, cov = check_measure(mu, Gaussian, name)
    if mean.ndim < 1 or cov.ndim != mean.ndim + 1 or tuple(cov.shape) != (*mean.shape, mean.shape[-1]):
        raise ValueError(
            f"{name}: mean must have shape (..., d) and cov (..., d, d) with the same leading axes; "
            f"got mean {tuple(mean.shape)} and cov {tuple(cov.shape)}"
        )
    if mean.shape[-1] == 0:
        raise ValueError(f"{name}: the dimension d must be at least 1; got mean of shape {tuple(mean.shape)}")
    if not validate or 0 in mean.shape:
        return mu
    xp = array_namespace(mean)
    size, most = xp.max(xp.abs(mean)), _largest_variance(mean) ** 0.5
    if not bool(size <= most):
        _check_finite(mean, f"{name}.mean")
        raise ValueError(
            f"{name}.mean must have entries of at most {most:.3g}, or squared distances overflow in "
            f"{mean.dtype}; got {float(size):.3g}; use other units (measures.rescale)"
        )
    return Gaussian(mean, check_psd(cov, f"{name}.cov"))


def check_measure(mu: Any, kind: type[Measure], name: str, /) -> Measure:
    """Raise unless ``mu`` is a measure of this kind, made of arrays of one library, device and dtype."""
    check_record(mu, kind, name)
    return mu


def check_record(value: Any, kind: Any, name: str, /, *, arrays: tuple[str, ...] = ()) -> None:
    """Raise unless ``value`` is this NamedTuple, with (these) parts of one library, device and dtype."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {_described(kind)}; got a {type(value).__name__}")
    check_floating(**{f"{name}.{part}": getattr(value, part) for part in arrays or kind._fields})


def _described(kind: type[Any]) -> str:
    article = "an" if kind.__name__[0] in "AEIOU" else "a"
    return f"{article} {kind.__name__}({', '.join(kind._fields)})"


def check_times(t: Any, like: Array, /) -> Array:
    """Raise unless t is a number, or an array of library, dtype and device of ``like``; return an array."""
    if isinstance(t, int | float):
        return asarray_like(t, like)
    if is_array(t):
        array_namespace(like, t)  # raises TypeError on mixed libraries
        if t.dtype != like.dtype:
            raise TypeError(f"t must be a number or have the dtype of mu, {like.dtype}; got {t.dtype}")
    check_floating(t=t)
    check_floating(mu=like, t=t)
    return t


def check_square(matrix: Array, name: str, /) -> None:
    """Raise unless ``matrix`` is an array (..., d, d), float32 or float64."""
    check_floating(**{name: matrix})
    if matrix.ndim < 2 or matrix.shape[-1] != matrix.shape[-2] or matrix.shape[-1] == 0:
        raise ValueError(f"{name} must have shape (..., d, d) with d >= 1; got {tuple(matrix.shape)}")


def check_cov(cov: Array, validate: bool, /) -> Array:
    """Check the shape, and the values (``validate``), of covariances (..., d, d); return them symmetrised."""
    check_square(cov, "cov")
    return cov if not validate or 0 in cov.shape else check_psd(cov)


def check_psd(cov: Array, /, name: str = "cov") -> Array:
    """Raise unless the matrices ``cov`` (..., d, d) are finite, symmetric, PSD; return them symmetrised."""
    xp = check_floating(**{name: cov})
    size, most = xp.max(xp.abs(cov), axis=(-2, -1)), _largest_variance(cov)
    if not bool(xp.all(size <= most)):
        _check_finite(cov, name)
        raise ValueError(
            f"{name} must have entries of at most {most:.3g}, or distances overflow in {cov.dtype}; "
            f"got {float(xp.max(size)):.3g}; use other units (measures.rescale)"
        )
    asymmetry = xp.abs(cov - transpose(cov))
    tolerance = 1e-8 if machine_eps(cov) < 1e-10 else 1e-4
    if bool(xp.any(asymmetry > tolerance * size[..., None, None])):
        raise ValueError(
            f"{name} must be symmetric; got an asymmetry of {float(xp.max(asymmetry)):.3g} "
            f"(allowed: {tolerance:g} of the largest entry); use 0.5 * (cov + cov^T) if it is rounding"
        )
    cov = symmetrize(cov)
    # The largest entry bounds every |eigenvalue| from below by itself and from above by d times itself.
    lowest = xp.linalg.eigvalsh(cov)[..., 0]  # of finite matrices, which no library refuses
    if bool(xp.any(lowest < -100 * cov.shape[-1] * machine_eps(cov) * size)):
        raise ValueError(
            f"{name} must be positive semi-definite; got an eigenvalue of {float(xp.min(lowest)):.3g}; "
            "bures.project_psd gives the nearest positive semi-definite matrix"
        )
    return cov


def _check_finite(x: Array, name: str) -> None:
    if not all_finite(x):
        raise ValueError(f"{name} must be finite; got NaN or infinity")


def _largest_variance(x: Array) -> float:
    """Entries of (d, d) matrices up to here can be added up, and doubled, without overflow."""
    return float(array_namespace(x).finfo(x.dtype).max) / (16 * x.shape[-1] ** 2)


def check_pair(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> tuple[Gaussian, Gaussian]:
    """Check two Gaussians, or batches that broadcast, as ``check_gaussian`` does; return them symmetrised."""
    mu = check_gaussian(mu, "mu", validate=validate)
    nu = check_gaussian(nu, "nu", validate=validate)
    _check_same_space(mu, nu)
    check_broadcast(mu=mu.mean.shape[:-1], nu=nu.mean.shape[:-1])
    return mu, nu


def check_families(mu: Gaussian, nu: Gaussian, /, *, validate: bool = True) -> tuple[Gaussian, Gaussian]:
    """Check two families, mean (n, d) and (m, d), as ``check_gaussian`` does; return them symmetrised."""
    checked = []
    for name, family in (("mu", mu), ("nu", nu)):
        if check_measure(family, Gaussian, name).mean.ndim != 2:
            raise ValueError(
                f"{name} must be a family, mean (n, d) and cov (n, d, d); got mean {tuple(family.mean.shape)}"
            )
        checked.append(check_gaussian(family, name, validate=validate))
    _check_same_space(mu, nu)
    return checked[0], checked[1]


def _check_same_space(mu: Gaussian, nu: Gaussian) -> None:
    check_floating(mu=mu.mean, nu=nu.mean)
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


def take(mu: Measure, index: Any, /) -> Measure:
    """Members ``index`` (B,) of a family of Gaussians or of clouds, in that order.

    Equation: none. Indexing.

    ``index`` may live on the host (NumPy) whatever the library of the family.

    Examples
    --------
    >>> take(Gaussian(np.asarray([[0.0], [1.0], [2.0]]), np.ones((3, 1, 1))), [2, 0]).mean.tolist()
    [[2.0], [0.0]]
    """
    if not isinstance(mu, Gaussian | PointCloud):
        raise TypeError(
            f"mu must be {_described(Gaussian)} or {_described(PointCloud)}; got a {type(mu).__name__}"
        )
    check_record(mu, type(mu), "mu")
    xp = array_namespace(mu[0])
    index = on_device_of(mu[0], index)
    return type(mu)(*(xp.take(part, index, axis=0) for part in mu))


def rescale(mu: Gaussian, factor: float, /) -> Gaussian:
    """Law of ``factor * x`` for x ~ mu: squared distances are multiplied by ``factor²``.

    Equation: WFM-24.

    Examples
    --------
    >>> [part.tolist() for part in rescale(Gaussian(np.ones(1), np.eye(1)), 3.0)]
    [[3.0], [[9.0]]]
    """
    check_measure(mu, Gaussian, "mu")
    return Gaussian(factor * mu.mean, factor * (factor * mu.cov))
