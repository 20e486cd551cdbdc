"""The regression losses of Wasserstein flow matching, of Gaussians and of clouds, each with its derivative.

Those of Gaussians regress a network's (mean, matrix) output onto the velocity of a geodesic at its point
mu_t. They differ in the velocity of the covariance, and in the norm in which its error E is measured:

=============  ============================  ===============================================
riemannian     S_t (WFM-10)                  Riemannian norm at mu_t: ``tr(E Σ Eᵀ)``
euclidean      dΣ/dt (WFM-9)                 Riemannian norm of the R with ``R Σ + Σ R = E``
frobenius      dΣ/dt (WFM-9)                 Frobenius norm ``‖E‖_F``
=============  ============================  ===============================================

Point clouds have one loss (``cloud_loss``), the riemannian one taken at their points. Each returns the mean
over the batch and its derivative with respect to the prediction.
"""

from typing import Any

from refwfm._array import Array, array_namespace, check_floating, sq_frobenius, sq_norm
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian, check_measure
from refwfm.psd import solve_lyapunov


def riemannian_loss(pred: Tangent, target: Tangent, mu_t: Gaussian, /) -> tuple[Array, Tangent]:
    """Mean of ``‖a - ṁ‖² + tr((S - S_t) Σ_t (S - S_t)ᵀ)``, the squared error of the field in L²(mu_t).

    Equation: WFM-11, WFM-16, WFM-17, WFM-U6. Derivative ``2 (a - ṁ), 2 (S - S_t) Σ_t`` over B.

    Parameters
    ----------
    pred, target : Tangent, mean (B, d), lift (B, d, d)
    mu_t : Gaussian, mean (B, d), cov (B, d, d)

    Returns
    -------
    value : array, shape ()
    derivative : Tangent
        With respect to ``pred``; the lift's is that of a matrix with free entries, not symmetrised.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, or shapes do not fit: broadcasting would average over other pairs
        than those meant.

    Examples
    --------
    >>> mean, one = np.ones((1, 1)), np.ones((1, 1, 1))
    >>> value, d = riemannian_loss(Tangent(mean, one), Tangent(0 * mean, 0 * one), Gaussian(mean, 2 * one))
    >>> float(value), d.mean.tolist(), d.lift.tolist()
    (3.0, [[2.0]], [[[4.0]]])
    """
    _check(pred, target, mu_t, Tangent)
    error_mean, error_lift = pred.mean - target.mean, pred.lift - target.lift
    weighted = error_lift @ mu_t.cov
    xp = array_namespace(weighted)
    value = xp.mean(sq_norm(error_mean) + xp.sum(weighted * error_lift, axis=(-2, -1)))
    scale = 2.0 / error_mean.shape[0]
    return value, Tangent(scale * error_mean, scale * weighted)


def euclidean_loss(
    pred: EuclideanTangent, target: EuclideanTangent, mu_t: Gaussian, /
) -> tuple[Array, EuclideanTangent]:
    """Mean Riemannian norm of the error of the *Euclidean* derivative: ``‖a - ṁ‖² + tr(R Σ_t R)``.

    Equation: WFM-Table2. The row BW-FM (Euclidean). R solves ``R Σ_t + Σ_t R = E``, ``E = D - dΣ/dt``; then
    ``tr(R Σ_t R) = tr(E R) / 2`` with derivative R in D.

    Parameters
    ----------
    pred, target : EuclideanTangent, mean (B, d), cov (B, d, d) symmetric
    mu_t : Gaussian, mean (B, d), cov (B, d, d)

    Returns
    -------
    value : array, shape ()
    derivative : EuclideanTangent

    Examples
    --------
    >>> mean, one = np.zeros((1, 1)), np.ones((1, 1, 1))
    >>> pred, target = EuclideanTangent(mean, 4 * one), EuclideanTangent(mean, 0 * one)
    >>> float(euclidean_loss(pred, target, Gaussian(mean, one))[0])  # R = 2
    4.0
    """
    _check(pred, target, mu_t, EuclideanTangent)
    error_mean, error_cov = pred.mean - target.mean, pred.cov - target.cov
    lift = solve_lyapunov(mu_t.cov, error_cov)
    xp = array_namespace(lift)
    value = xp.mean(sq_norm(error_mean) + 0.5 * xp.sum(lift * error_cov, axis=(-2, -1)))
    scale = 1.0 / error_mean.shape[0]
    return value, EuclideanTangent(2.0 * scale * error_mean, scale * lift)


def frobenius_loss(
    pred: EuclideanTangent, target: EuclideanTangent, mu_t: Gaussian, /
) -> tuple[Array, EuclideanTangent]:
    """Mean of ``‖a - ṁ‖² + ‖D - dΣ/dt‖_F²``: flow matching on the entries of mean and covariance.

    Equation: WFM-Table2. The row Frobenius FM. Parameters and results as for ``euclidean_loss``; mu_t is
    unused.

    Examples
    --------
    >>> mean, one = np.zeros((1, 1)), np.ones((1, 1, 1))
    >>> pred, target = EuclideanTangent(mean, 4 * one), EuclideanTangent(mean, 0 * one)
    >>> float(frobenius_loss(pred, target, Gaussian(mean, one))[0])
    16.0
    """
    _check(pred, target, mu_t, EuclideanTangent)
    error_mean, error_cov = pred.mean - target.mean, pred.cov - target.cov
    value = array_namespace(error_cov).mean(sq_norm(error_mean) + sq_frobenius(error_cov))
    scale = 2.0 / error_mean.shape[0]
    return value, EuclideanTangent(scale * error_mean, scale * error_cov)


def cloud_loss(pred: Array, target: Array, weights: Array, /) -> tuple[Array, Array]:
    """Mean over clouds of ``Σ wᵢ ‖predᵢ - targetᵢ‖²``, the squared error of the field in L²(mu_t).

    Equation: WFM-U7, GWFM-9, GWFM-22. Derivative ``2 wᵢ (predᵢ - targetᵢ)`` over B. In the mean over times
    and pairs it is what flow matching (GWFM-9) and its generalisation (GWFM-22) minimise. (The paper prints
    the sum over points where the norm of (11) is the mean; with clouds of different sizes that is more than a
    constant factor, as large clouds would count for more.)

    Parameters
    ----------
    pred, target : array, shape (B, n, d)
    weights : array, shape (B, n)
        Weights of the points, 0 for padding, which has no influence whatever it holds.

    Returns
    -------
    value : array, shape ()
    derivative : array, shape (B, n, d)
        With respect to ``pred``; 0 at padding.

    Raises
    ------
    ValueError
        If the shapes do not fit: broadcasting would average over other pairs than those meant.

    Examples
    --------
    >>> float(cloud_loss(np.ones((1, 2, 3)), np.zeros((1, 2, 3)), np.full((1, 2), 0.5))[0])
    3.0
    """
    xp = check_floating(pred=pred, target=target, weights=weights)
    fit = pred.ndim == 3 and pred.shape == target.shape and weights.shape == pred.shape[:-1]
    if not fit or pred.shape[0] == 0:
        raise ValueError(
            f"pred and target must have the same shape (B, n, d) and weights (B, n), B >= 1; got pred "
            f"{tuple(pred.shape)}, target {tuple(target.shape)} and weights {tuple(weights.shape)}"
        )
    error = xp.where((weights > 0)[..., None], pred - target, 0.0)
    weighted = weights[..., None] * error
    value = xp.sum(weighted * error) / error.shape[0]
    return value, (2.0 / error.shape[0]) * weighted


def _check(pred: Any, target: Any, mu_t: Gaussian, kind: type[Tangent] | type[EuclideanTangent]) -> None:
    for name, v in (("pred", pred), ("target", target)):
        if not isinstance(v, kind):
            raise TypeError(
                f"{name} must be a {kind.__name__}({', '.join(kind._fields)}); got a {type(v).__name__}"
            )
    mean, cov = check_measure(mu_t, Gaussian, "mu_t")
    names = ("pred.mean", "target.mean", "mu_t.mean", f"pred.{kind._fields[1]}", f"target.{kind._fields[1]}")
    parts = (pred[0], target[0], mean, pred[1], target[1])
    check_floating(**dict(zip(names, parts, strict=True)))
    shape = tuple(cov.shape)
    if len(shape) != 3 or shape[0] == 0 or any(tuple(x.shape) != shape[: x.ndim] for x in parts):
        got = ", ".join(f"{name} {tuple(x.shape)}" for name, x in zip(names, parts, strict=True))
        raise ValueError(
            f"means must have shape (B, d) and matrices (B, d, d), B >= 1, all the same; got {got}, "
            f"mu_t.cov {shape}"
        )
