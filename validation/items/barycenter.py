"""Audited barycenter of a family of Gaussians (WFM appendix D)."""

import numpy as np

from refwfm.barycenter import barycenter
from refwfm.measures import Gaussian
from refwfm.validation import textbook
from refwfm.validation.check import FIXED_POINT, Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.draws import symmetric
from refwfm.validation.textbook import identity, pot_gaussian, relative, sqrtm


def items() -> list[Item]:
    """Return the one item."""
    return [bw_barycenter()]


def bw_barycenter() -> Item:
    """Bures-Wasserstein barycenter."""
    wrong = {
        "mean of the covariances": lambda mu, w: _center(mu, w, np.einsum("n,nij->ij", w, mu.cov)),
        "without the weights": lambda mu, w: barycenter(mu, validate=False),
    }
    alike = {"look-alike: power mean of order ½": lambda mu, w: _center(mu, w, _power_mean(mu.cov, w))}
    return Item(
        id="WFM-Barycenter",
        paper="WFM",
        place="appendix D",
        title="Bures-Wasserstein barycenter",
        latex=r"\bar\Sigma=\sum_iw_i(\bar\Sigma^{1/2}\Sigma_i\bar\Sigma^{1/2})^{1/2}",
        statement="The Gaussian of least mean squared distance; the maps from it average to the identity.",
        functions=(barycenter,),
        checks=(
            Check(
                "first-order condition, SciPy sqrtm",
                maps_average_to_the_identity,
                barycenter,
                wrong | alike,
                FIXED_POINT,
            ),
            Check(
                "one step of the iteration, SciPy sqrtm",
                one_step_is_the_textbooks,
                lambda mu, w: barycenter(mu, w, max_iter=1, require=False),
                {
                    "two steps": lambda mu, w: barycenter(mu, w, max_iter=2, require=False),
                    "the map on one side": _one_sided_step,
                    "residual of the maps, not of the vectors moved": _residual_of_maps,
                    "squared residual": _squared_residual,
                },
                roundings(1000, "roots of covariances of condition up to some hundreds"),
                dimensions=(2, 3, 6),
            ),
            Check(
                "its part in the subspace, of members that span no more",
                barycenter_in_a_subspace,
                barycenter,
                wrong,
                FIXED_POINT,
                dimensions=(2, 3, 6),
            ),
            Check(
                "closed form, commuting covariances",
                barycenter_of_commuting_covariances,
                barycenter,
                wrong,
                FIXED_POINT,
            ),
            Check(
                "POT",
                barycenter_is_pots,
                barycenter,
                wrong | alike,
                FIXED_POINT,
                dimensions=(1, 2, 3, 6),
                needs="ot",
            ),
            Check(
                "its transpose, to the bit",
                covariance_is_symmetric,
                lambda mu, w: barycenter(mu, w, max_iter=1, require=False),
                {"one triangle rounded up": _rounded_up},
                Tolerance(0.0, 0.0, "none: the last step is the mean with the transpose"),
            ),
        ),
    )


def _rounded_up(mu, w):
    found = barycenter(mu, w, max_iter=1, require=False)
    cov = found.gaussian.cov
    cov = np.where(np.tri(cov.shape[-1], k=-1) > 0, np.nextafter(cov, np.inf), cov)
    return found._replace(gaussian=Gaussian(found.gaussian.mean, cov))


def _center(mu, w, cov):
    return barycenter(mu, w, validate=False)._replace(gaussian=Gaussian(w @ mu.mean, cov))


def _power_mean(cov, w):
    """Fixed point of ``S = Σ wᵢ S^{1/2} (S^{-1/2} Σᵢ S^{-1/2})^{1/2} S^{1/2}``."""
    S = np.einsum("n,nij->ij", w, cov)
    for _ in range(20):
        root = sqrtm(S[None])[0]
        inverse = np.linalg.inv(root)
        S = symmetric(root @ np.einsum("n,nij->ij", w, sqrtm(inverse @ cov @ inverse)) @ root)
    return S


def maps_average_to_the_identity(barycenter, draw):
    """``Σ wᵢ C^{Σ̄ -> Σᵢ} - I``, and the mean."""
    mu, w = draw.gaussians(size=5), draw.weights(5)
    center = draw.call(barycenter, mu, w).gaussian
    maps = textbook.gelbrich_map(np.repeat(center.cov[None], 5, axis=0), mu.cov)
    average = np.einsum("n,nij->ij", w / w.sum(), maps)
    return worst_of(_mean_error(center, mu, w), relative(average[None], identity(average)[None]))


def _one_sided_step(mu, w):
    found = barycenter(mu, w, max_iter=1, require=False)
    S = np.einsum("n,nij->ij", w, mu.cov)
    T = np.einsum("n,nij->ij", w, textbook.gelbrich_map(np.broadcast_to(S, mu.cov.shape), mu.cov))
    return found._replace(gaussian=found.gaussian._replace(cov=symmetric(T @ S)))


def _squared_residual(mu, w):
    found = barycenter(mu, w, max_iter=1, require=False)
    return found._replace(residual=found.residual**2)


def _residual_of_maps(mu, w):
    found = barycenter(mu, w, max_iter=1, require=False)
    _, T = _first_step(mu, w)
    return found._replace(residual=float(np.linalg.norm(T - np.eye(len(T))) / len(T) ** 0.5))


def _first_step(mu, w):
    """Mean of the covariances, and the mean of the textbook maps from it."""
    S = np.einsum("n,nij->ij", w, mu.cov)
    return S, np.einsum("n,nij->ij", w, textbook.gelbrich_map(np.repeat(S[None], len(w), axis=0), mu.cov))


def one_step_is_the_textbooks(step, draw):
    """From the mean of the covariances: ``T̄ Σ̄ T̄``, the residual, and the mean.

    The residual is the norm of ``T̄ - I`` as a tangent vector, ``√tr((T̄ - I) Σ̄ (T̄ - I))``, over ``√tr Σ̄``.
    """
    mu, w = draw.gaussians(size=5), draw.weights(5)
    found = draw.call(step, mu, w)
    w = w / w.sum()
    S, T = _first_step(mu, w)
    step = T - np.eye(draw.d)
    residual = np.sqrt(np.trace(step @ S @ step) / np.trace(S))
    return worst_of(
        _mean_error(found.gaussian, mu, w),
        relative(found.gaussian.cov[None], (T @ S @ T)[None]),
        abs(found.residual - residual) / residual,
    )


def covariance_is_symmetric(step, draw):
    """Largest difference of the covariance after one step and its transpose."""
    cov = draw.call(step, draw.gaussians(size=5), draw.weights(5)).gaussian.cov
    return float(np.max(np.abs(cov - cov.T)))


def barycenter_in_a_subspace(barycenter, draw):
    """First-order condition in one dimension less, of members turned into a plane of the space."""
    mu, w = draw.gaussians(size=5), draw.weights(5)
    basis = draw.rotations(1)[0][:, 1:]
    inside = Gaussian(mu.mean @ basis, symmetric(basis.T @ mu.cov @ basis))
    cov = draw.rounded(symmetric(basis @ inside.cov @ basis.T))
    center = draw.call(barycenter, Gaussian(mu.mean, cov), w).gaussian
    found = symmetric(basis.T @ center.cov @ basis)
    maps = textbook.gelbrich_map(np.repeat(found[None], 5, axis=0), inside.cov)
    average = np.einsum("n,nij->ij", w / w.sum(), maps)
    left = relative((basis @ found @ basis.T)[None], center.cov[None])
    return worst_of(_mean_error(center, mu, w), relative(average[None], identity(average)[None]), left)


def barycenter_of_commuting_covariances(barycenter, draw):
    """``(Σ wᵢ Σᵢ^{1/2})²``."""
    cov, roots = draw.commuting(5)
    mu, w = Gaussian(draw.normal(5, draw.d), cov), draw.weights(5)
    center = draw.call(barycenter, mu, w).gaussian
    root = np.einsum("n,nij->ij", w / w.sum(), roots)
    return worst_of(_mean_error(center, mu, w), relative(center.cov[None], (root @ root)[None]))


def barycenter_is_pots(barycenter, draw):
    """POT's fixed-point iteration, run to 1e-10."""
    mu, w = draw.gaussians(size=5), draw.weights(5)
    center = draw.call(barycenter, mu, w).gaussian
    _, cov = pot_gaussian().bures_wasserstein_barycenter(mu.mean, mu.cov, weights=w / w.sum(), eps=1e-10)
    return worst_of(_mean_error(center, mu, w), relative(center.cov[None], cov[None]))


def _mean_error(center, mu, w):
    return relative(center.mean[None], (w / w.sum() @ mu.mean)[None], 1.0)
