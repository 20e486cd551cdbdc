"""Audited formulas of distances: between two Gaussians, and to the nearest of a family."""

import numpy as np
import scipy.linalg

from refwfm import bures, psd
from refwfm._array import array_namespace
from refwfm.clouds import moments
from refwfm.measures import Gaussian, rescale
from refwfm.metrics.nearest_gaussians import nearest
from refwfm.metrics.statistics import label_accuracy
from refwfm.validation import edges, far, refusals, slopes, textbook
from refwfm.validation.check import EXACT, WELL, Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.draws import symmetric
from refwfm.validation.textbook import pot_gaussian, relative, size, sqrtm


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_24(), evaluation()]


# WFM-24


def wfm_24() -> Item:
    """Squared distance."""
    return Item(
        id="WFM-24",
        paper="WFM",
        place="appendix C, eq. 24",
        title="Bures-Wasserstein distance",
        latex=r"W_2^2=\|m_\mu-m_\nu\|^2+\mathrm{Tr}\bigl(A+B-2(A^{1/2}BA^{1/2})^{1/2}\bigr)",
        statement="Squared 2-Wasserstein distance between Gaussians (the Fréchet distance).",
        functions=(
            bures.sq_distance,
            bures.pairwise_sq_distance,
            bures.factored_sq_distance,
            psd.nuclear_norm,
            moments,
            rescale,
        ),
        checks=(
            Check(
                "textbook, SciPy sqrtm",
                distance_is_the_textbooks,
                bures.sq_distance,
                {
                    "not squared": lambda mu, nu: np.sqrt(bures.sq_distance(mu, nu)),
                    "half of it": lambda mu, nu: 0.5 * bures.sq_distance(mu, nu),
                    "without the root": lambda mu, nu: _distance(
                        mu, nu, sqrtm(mu.cov) @ nu.cov @ sqrtm(mu.cov)
                    ),
                    "as if the covariances commuted": lambda mu, nu: _distance(
                        mu, nu, sqrtm(mu.cov) @ sqrtm(nu.cov)
                    ),
                    "cross term once": lambda mu, nu: (
                        0.5 * (bures.sq_distance(mu, nu) + _distance(mu, nu, 0.0 * mu.cov))
                    ),
                },
                roundings(300, WELL),
            ),
            Check(
                "POT",
                distances_are_pots,
                bures.pairwise_sq_distance,
                {
                    "not squared": lambda mu, nu: np.sqrt(bures.pairwise_sq_distance(mu, nu)),
                    "half of it": lambda mu, nu: 0.5 * bures.pairwise_sq_distance(mu, nu),
                    "means only": lambda mu, nu: np.sum((mu.mean[:, None] - nu.mean) ** 2, axis=-1),
                },
                roundings(300, WELL),
                needs="ot",
                many_shapes=True,
            ),
            Check(
                "mpmath, singular covariances",
                distance_of_singular_covariances,
                bures.sq_distance,
                {
                    "Frobenius distance of the roots": lambda mu, nu: (
                        np.sum((mu.mean - nu.mean) ** 2, axis=-1)
                        + np.sum((_psd_root(mu.cov) - _psd_root(nu.cov)) ** 2, axis=(-2, -1))
                    ),
                    "half of it": lambda mu, nu: 0.5 * bures.sq_distance(mu, nu),
                },
                roundings(100, "of the traces; the textbook's formula loses half of the digits here"),
                dimensions=(2, 3, 6),
                size=2,
                needs="mpmath",
            ),
            Check(
                "SciPy svdvals",
                nuclear_norm_is_scipys,
                psd.nuclear_norm,
                {
                    "Frobenius norm": lambda matrix: np.linalg.norm(matrix, axis=(-2, -1)),
                    "absolute trace": lambda matrix: np.abs(textbook.trace(matrix)),
                },
                roundings(100, "d up to 16"),
            ),
            Check(
                "cloud made to have them",
                moments_of_a_cloud,
                moments,
                {
                    "divided by n - 1": lambda x, w=None: Gaussian(
                        moments(x, w).mean, moments(x, w).cov * x.shape[1] / (x.shape[1] - 1)
                    ),
                    "without the weights": lambda x, w=None: moments(x),
                },
                roundings(300, WELL),
            ),
            Check(
                "cloud in other units",
                moments_of_a_scaled_cloud,
                rescale,
                {
                    "covariance times the factor": lambda mu, s: Gaussian(s * mu.mean, s * mu.cov),
                    "covariance only": lambda mu, s: Gaussian(mu.mean, s * s * mu.cov),
                },
                roundings(300, WELL),
            ),
            *(
                Check(
                    f"closed form of Gaussians that nearly agree, {name}",
                    distance_of_near_ones,
                    function,
                    {
                        "Frobenius distance of the roots": _apart_in_roots,
                        "half of it": lambda mu, nu, function=function: 0.5 * function(mu, nu),
                    },
                    NEAR,
                )
                for name, function in (
                    ("pairs", bures.sq_distance),
                    ("all pairs", _matched),
                    ("factors", _by_factors),
                )
            ),
            refusals.device_check(),
            far.moments_check(),
            edges.close_check(),
            *slopes.distance_checks(),
        ),
    )


NEAR = Tolerance(1e-8, 5e-3, "a hundred roundings of the covariances, eps, over the distance, eps^(1/3)")


def _matched(mu, nu):
    return array_namespace(mu.mean).linalg.diagonal(bures.pairwise_sq_distance(mu, nu))


def _by_factors(mu, nu):
    return bures.factored_sq_distance(mu.mean, psd.factor(mu.cov), nu.mean, psd.factor(nu.cov))


def _apart_in_roots(mu, nu):
    return np.sum((sqrtm(mu.cov) - sqrtm(nu.cov)) ** 2, axis=(-2, -1))


def distance_of_near_ones(distance, draw):
    """``T = I + t S`` is the optimal map to ``T A T``, at distance ``t² Tr(S A S)``; relative to itself."""
    mu, t = draw.gaussians(), draw.eps ** (1 / 3)
    S = symmetric(draw.normal(draw.size, draw.d, draw.d))
    T = np.eye(draw.d) + t * S
    nu = Gaussian(mu.mean, draw.rounded(symmetric(T @ mu.cov @ T)))
    return relative(draw.call(distance, mu, nu), t**2 * textbook.trace(S @ mu.cov @ S))


def _distance(mu, nu, cross):
    return np.sum((mu.mean - nu.mean) ** 2, axis=-1) + textbook.trace(mu.cov + nu.cov - 2.0 * cross)


def _psd_root(cov):
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]) @ vectors.mT


def distance_is_the_textbooks(sq_distance, draw):
    """Relative to the traces and the means' distance, of which the formula is a difference."""
    mu, nu = draw.gaussians(), draw.gaussians()
    return relative(
        draw.call(sq_distance, mu, nu), textbook.sq_distance(mu, nu), _distance(mu, nu, 0.0 * mu.cov)
    )


def distances_are_pots(pairwise_sq_distance, draw):
    """The square of POT's distances, of all pairs of two families."""
    mu, nu = draw.gaussians(size=4), draw.gaussians(size=5)
    roots = pot_gaussian().bures_wasserstein_distance(mu.mean, nu.mean, mu.cov, nu.cov)
    return relative(draw.call(pairwise_sq_distance, mu, nu), np.reshape(roots, (4, 5)) ** 2)


def distance_of_singular_covariances(sq_distance, draw):
    """From rank d / 2 to rank d, relative to the traces."""
    (mu, F), (nu, G) = draw.singular(), draw.singular(rank=draw.d)
    truth = np.sum((mu.mean - nu.mean) ** 2, axis=-1) + textbook.each(textbook.exact_sq_bures, F, G)
    return relative(draw.call(sq_distance, mu, nu), truth, _distance(mu, nu, 0.0 * mu.cov))


def nuclear_norm_is_scipys(nuclear_norm, draw):
    """Sum of the singular values."""
    matrix = draw.normal(draw.size, draw.d, draw.d)
    return relative(
        draw.call(nuclear_norm, matrix), np.sum(textbook.each(scipy.linalg.svdvals, matrix), axis=-1)
    )


def moments_of_a_cloud(moments, draw):
    """Points on opposite ends of the axes of an ellipsoid, with weights and without."""
    mu = draw.gaussians()
    half = np.stack([draw.weights(draw.d) for _ in range(draw.size)]) / 2.0
    weights = np.concatenate([half, half], axis=-1)
    axes = np.linalg.cholesky(mu.cov).mT / np.sqrt(2.0 * half)[..., None]
    x = mu.mean[:, None, :] + np.concatenate([axes, -axes], axis=1)
    plain = textbook.cloud(mu)
    results = (
        draw.call(moments, x, weights / weights.sum(axis=-1, keepdims=True)),
        draw.call(moments, plain),
    )
    scale = size(x, plain)
    errors = ((relative(r.mean, mu.mean, scale), relative(r.cov, mu.cov, scale**2)) for r in results)
    return worst_of(*(part for pair in errors for part in pair))


def moments_of_a_scaled_cloud(rescale, draw):
    """Law of 1.75 x for x ~ mu."""
    mu = draw.gaussians()
    x = 1.75 * textbook.cloud(mu)
    mean = x.mean(axis=1)
    centred = x - mean[:, None, :]
    result = draw.call(rescale, mu, 1.75)
    cov_error = relative(result.cov, centred.mT @ centred / x.shape[1])
    return worst_of(relative(result.mean, mean, size(x)), cov_error)


# Evaluation


def evaluation() -> Item:
    """Distance to the nearest real Gaussian."""
    return Item(
        id="WFM-Eval",
        paper="WFM",
        place="section 4 and table 2",
        title="distance to the nearest real Gaussian",
        latex=r"\frac1n\sum_{i=1}^n\min_jW_2^2(\hat\mu_i,\mu_j)",
        statement="How far generated Gaussians are from the data, and whether the nearest has their label.",
        functions=(nearest, label_accuracy),
        checks=(
            Check(
                "all pairs, textbook distances",
                nearest_of_all_pairs,
                nearest,
                {
                    "by distance of the means": _nearest_mean,
                    "not squared": _nearest_root,
                    "the other way round": lambda x, y: nearest(y, x),
                },
                roundings(3000, "condition number 1000, for SciPy's root beside ours"),
                many_shapes=True,
                repeats=1,
            ),
            Check(
                "zero: the members of a family among themselves",
                nearest_of_itself_is_itself,
                nearest,
                {
                    "another family": lambda x, y: nearest(x, _moved(y)),
                    "members in another order": lambda x, y: nearest(
                        x, textbook.take(y, np.arange(len(y.mean))[::-1])
                    ),
                },
                roundings(1000, "a difference of traces, of condition number 1000"),
                dimensions=(2, 6),
                many_shapes=True,
            ),
            edges.nearest_check(),
            Check(
                "count",
                accuracy_is_a_count,
                label_accuracy,
                {
                    "share of the wrong ones": lambda *args: 1.0 - label_accuracy(*args),
                    "labels of the members' numbers": lambda member, labels, wanted: float(
                        np.mean(member == wanted)
                    ),
                },
                EXACT,
                dimensions=(2,),
            ),
        ),
    )


def _nearest_root(x, y):
    found = nearest(x, y)
    return found._replace(sq_distance=np.sqrt(found.sq_distance))


def _nearest_mean(x, y):
    member = np.argmin(np.sum((x.mean[:, None] - y.mean) ** 2, axis=-1), axis=1)
    return nearest(x, y)._replace(
        sq_distance=textbook.sq_distance(x, textbook.take(y, member)), member=member
    )


def nearest_of_all_pairs(nearest, draw):
    """Least distance of each row, and that of the named member; thin ellipsoids with means close together."""
    x, y = (draw.gaussians(1000.0, size=n) for n in (20, 30))
    x, y = (Gaussian(draw.rounded(mu.mean / 16.0), mu.cov) for mu in (x, y))
    truth = textbook.pairwise_sq_distance(x, y)
    found = draw.call(nearest, x, y)
    if len(found.member) != len(x.mean) or np.max(found.member) >= len(y.mean):
        return np.inf
    named = truth[np.arange(len(x.mean)), found.member]
    least, scale = truth.min(axis=1), truth.mean(axis=1)
    return worst_of(relative(found.sq_distance, least, scale), relative(named, least, scale))


def _moved(mu):
    return Gaussian(mu.mean + 1.0, mu.cov)


def nearest_of_itself_is_itself(nearest, draw):
    """Distance of every member to the nearest of its family; infinite if that is another."""
    mu = draw.gaussians(1000.0, size=20)
    found = draw.call(nearest, mu, mu)
    if not np.array_equal(found.member, np.arange(20)):
        return np.inf
    return np.max(np.abs(found.sq_distance) / np.trace(mu.cov, axis1=-2, axis2=-1))


def accuracy_is_a_count(label_accuracy, draw):
    """Three of four right."""
    member, labels = np.array([4, 2, 0, 1]), np.array([1, 0, 2, 2, 0])
    return abs(float(label_accuracy(member, labels, np.array([0, 2, 1, 1]))) - 0.75)
