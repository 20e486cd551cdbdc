"""Audited formulas of the Bures-Wasserstein space: maps, tangent vectors, distances."""

import numpy as np
import scipy.linalg

from refwfm import bures, psd
from refwfm.bures import Tangent
from refwfm.measures import Gaussian, moments
from refwfm.validation import textbook
from refwfm.validation.check import Check, Item, roundings
from refwfm.validation.textbook import identity, pot_gaussian, relative, scaled, sqrtm

WELL = "condition number 30, d up to 16, and SciPy's root beside ours"


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_u2(), wfm_u4(), wfm_u5(), wfm_24()]


# WFM-U2


def wfm_u2() -> Item:
    """Exponential and logarithm."""
    return Item(
        id="WFM-U2",
        paper="WFM",
        place="section 2, unnumbered",
        title="exponential and logarithm",
        latex=r"\exp_\mu(v)=(\mathrm{id}+v)_\sharp\mu,\qquad \log_\mu\nu=T_*^{\mu\to\nu}-\mathrm{id}",
        statement="A tangent vector is a displacement field; exp moves along it, log is the optimal one.",
        functions=(bures.exp, bures.log),
        checks=(
            Check(
                "exact second moments",
                exp_moves_a_cloud,
                bures.exp,
                {
                    "without the term S A S": lambda mu, v: Gaussian(
                        mu.mean + v.mean, mu.cov + v.lift @ mu.cov + mu.cov @ v.lift
                    ),
                    "one factor only": lambda mu, v: Gaussian(
                        mu.mean + v.mean, (identity(mu.cov) + v.lift) @ mu.cov
                    ),
                    "backwards": lambda mu, v: textbook.exp(mu, scaled(-1.0, v)),
                },
                roundings(1000, WELL),
            ),
            Check(
                "textbook, SciPy sqrtm",
                log_reaches_the_target,
                bures.log,
                {
                    "C instead of C - I": lambda mu, nu: Tangent(
                        nu.mean - mu.mean, textbook.gelbrich_map(mu.cov, nu.cov)
                    ),
                    "from nu to mu": lambda mu, nu: bures.log(nu, mu),
                    "twice as long": lambda mu, nu: scaled(2.0, bures.log(mu, nu)),
                },
                roundings(1000, WELL),
            ),
            Check(
                "closed form, a step too long",
                log_of_a_long_step,
                lambda mu, v: bures.log(mu, bures.exp(mu, v)),
                {"log undoes every exp": lambda mu, v: v},
                roundings(100, "diagonal matrices"),
            ),
        ),
    )


def exp_moves_a_cloud(exp, draw):
    """Mean and covariance of ``exp_mu(v)`` against those of a cloud of mu's moments, moved by ``id + v``."""
    mu, v = draw.gaussians(), draw.tangents()
    x = textbook.cloud(mu)
    moved = x + textbook.field(v, mu, x)
    mean = moved.mean(axis=1)
    centred = moved - mean[:, None, :]
    result = draw.call(exp, mu, v)
    cov_error = relative(result.cov, centred.mT @ centred / x.shape[1])
    return max(relative(result.mean, mean, _size(mu.mean, v.mean)), cov_error)


def log_reaches_the_target(log, draw):
    """Mean and covariance of the textbook's ``exp_mu(log_mu nu)`` against those of nu."""
    mu, nu = draw.gaussians(), draw.gaussians()
    reached = textbook.exp(mu, draw.call(log, mu, nu))
    return max(relative(reached.mean, nu.mean, _size(mu.mean, nu.mean)), relative(reached.cov, nu.cov))


def log_of_a_long_step(log_exp, draw):
    """From N(0, I) along S = -3 I the shortest way to N(0, 4 I) is S = I: I + S must not be negative."""
    mu = Gaussian(np.zeros((draw.size, draw.d)), identity(np.zeros((draw.size, draw.d, draw.d))).copy())
    v = Tangent(mu.mean, -3.0 * mu.cov)
    return relative(draw.call(log_exp, mu, v).lift, mu.cov)


def _size(*arrays):
    """Largest entry of each member."""
    return np.max([np.max(np.abs(a), axis=tuple(range(1, a.ndim))) for a in arrays], axis=0)


# WFM-U4


def wfm_u4() -> Item:
    """Gelbrich map."""
    wrong = {
        "the map from nu to mu": lambda mu, nu: textbook.gelbrich_map(nu.cov, mu.cov),
        "without the outer inverse roots": lambda mu, nu: sqrtm(sqrtm(mu.cov) @ nu.cov @ sqrtm(mu.cov)),
        "as if the covariances commuted": lambda mu, nu: np.linalg.inv(sqrtm(mu.cov)) @ sqrtm(nu.cov),
        "without the root": lambda mu, nu: np.linalg.inv(mu.cov) @ nu.cov,
    }
    inexact = {  # as the textbook's roots of these covariances would be
        "the map from nu to mu": lambda mu, nu: bures.gelbrich_map(nu, mu),
        "twice": lambda mu, nu: 2.0 * bures.gelbrich_map(mu, nu),
        "squared": lambda mu, nu: bures.gelbrich_map(mu, nu) @ bures.gelbrich_map(mu, nu),
    }
    return Item(
        id="WFM-U4",
        paper="WFM",
        place="section 2.2, unnumbered",
        title="optimal map between Gaussians",
        latex=r"T(x)=m_\nu+C(x-m_\mu),\quad C=A^{-1/2}(A^{1/2}BA^{1/2})^{1/2}A^{-1/2}",
        statement="The optimal map between Gaussians is affine; C is the symmetric positive solution of CAC = B.",
        functions=(bures.gelbrich_map, bures.transport, psd.sqrtm, psd.inv_sqrtm),
        checks=(
            Check(
                "textbook, SciPy sqrtm",
                map_is_the_textbooks,
                bures.gelbrich_map,
                wrong,
                roundings(1000, WELL),
            ),
            Check(
                "defining equation, ill-conditioned",
                map_solves_its_equation,
                bures.gelbrich_map,
                inexact,
                roundings(5, "after division by sqrt(κ), κ = 1e10 (float32: 1e4)"),
            ),
            Check(
                "mpmath, ill-conditioned",
                map_is_mpmaths,
                bures.gelbrich_map,
                inexact,
                roundings(5, "after division by κ = 1e10 (float32: 1e4), the problem's own condition number"),
                dimensions=(2, 3),
                size=1,
                needs="mpmath",
            ),
            Check(
                "POT",
                transport_is_pots,
                bures.transport,
                {
                    "without the source's mean": lambda x, mu, nu: nu.mean[:, None] + x @ bures.gelbrich_map(mu, nu),
                    "the map from nu to mu": lambda x, mu, nu: bures.transport(x, nu, mu),
                },
                roundings(2000, WELL),
                size=1,
                needs="ot",
            ),
            Check(
                "SciPy sqrtm",
                root_is_scipys,
                psd.sqrtm,
                {"Cholesky's factor": np.linalg.cholesky, "without the root": lambda cov: cov},
                roundings(300, WELL),
            ),
            Check(
                "inverse of SciPy sqrtm",
                inverse_root_is_scipys,
                psd.inv_sqrtm,
                {"without the root": np.linalg.inv, "without the inverse": sqrtm},
                roundings(1000, WELL),
            ),
        ),
    )


def map_is_the_textbooks(gelbrich_map, draw):
    """C against the formula as it is written."""
    mu, nu = draw.gaussians(), draw.gaussians()
    return relative(draw.call(gelbrich_map, mu, nu), textbook.gelbrich_map(mu.cov, nu.cov))


def map_solves_its_equation(gelbrich_map, draw):
    """``C A C - B`` relative to B, and the asymmetry of C, for near-singular covariances."""
    mu, nu, condition = draw.ill_conditioned()
    C = draw.call(gelbrich_map, mu, nu)
    asymmetry = relative(C, C.mT)
    return max(relative(C @ mu.cov @ C, nu.cov) / np.sqrt(condition), asymmetry)


def map_is_mpmaths(gelbrich_map, draw):
    """C against 50 digits, for near-singular covariances."""
    mu, nu, condition = draw.ill_conditioned()
    truth = textbook.each(textbook.exact_gelbrich_map, mu.cov, nu.cov)
    return relative(draw.call(gelbrich_map, mu, nu), truth) / condition


def transport_is_pots(transport, draw):
    """Images of random points."""
    mu, nu = draw.gaussians(), draw.gaussians()
    x = draw.normal(draw.size, 5, draw.d)
    matrix, offset = pot_gaussian().bures_wasserstein_mapping(mu.mean[0], nu.mean[0], mu.cov[0], nu.cov[0])
    return relative(draw.call(transport, x, mu, nu)[0], x[0] @ matrix + offset, _size(x[0] @ matrix + offset).max())


def root_is_scipys(root, draw):
    """``A^{1/2}`` against SciPy."""
    cov = draw.covariances()
    return relative(draw.call(root, cov), sqrtm(cov))


def inverse_root_is_scipys(inverse_root, draw):
    """``A^{-1/2}`` against the inverse of SciPy's root."""
    cov = draw.covariances()
    return relative(draw.call(inverse_root, cov), np.linalg.inv(sqrtm(cov)))


# WFM-U5


def wfm_u5() -> Item:
    """Inner product of tangent vectors."""
    return Item(
        id="WFM-U5",
        paper="WFM",
        place="section 2.2, unnumbered",
        title="Riemannian metric",
        latex=r"\langle(a,S),(a',S')\rangle_{BW(\mu)}=\langle a,a'\rangle+\mathrm{Tr}(S\Sigma_\mu S'^\top)",
        statement="The inner product of two affine fields in L²(mu).",
        functions=(bures.inner, bures.sq_norm),
        checks=(
            Check(
                "exact second moments",
                inner_product_of_fields,
                bures.inner,
                {
                    "tr(S S' Σ), right only for symmetric S": lambda mu, u, v: (
                        np.sum(u.mean * v.mean, axis=-1) + textbook.trace(u.lift @ v.lift @ mu.cov)
                    ),
                    "without the means": lambda mu, u, v: textbook.trace(u.lift @ mu.cov @ v.lift.mT),
                    "without the covariance": lambda mu, u, v: (
                        np.sum(u.mean * v.mean, axis=-1) + textbook.trace(u.lift @ v.lift.mT)
                    ),
                },
                roundings(300, WELL),
            ),
            Check(
                "exact second moments, of one field",
                norm_of_a_field,
                bures.sq_norm,
                {
                    "half, as a kinetic energy": lambda mu, v: 0.5 * bures.sq_norm(mu, v),
                    "not squared": lambda mu, v: np.sqrt(bures.sq_norm(mu, v)),
                },
                roundings(300, WELL),
            ),
        ),
    )


def inner_product_of_fields(inner, draw):
    """Against the mean of ``⟨u(x), v(x)⟩`` over a cloud with mu's moments; S and S' are not symmetric."""
    mu = draw.gaussians()
    u, v = (Tangent(draw.normal(*mu.mean.shape), draw.normal(*mu.cov.shape)) for _ in range(2))
    x = textbook.cloud(mu)
    at_points = [textbook.field(w, mu, x) for w in (u, v)]
    truth = np.mean(np.sum(at_points[0] * at_points[1], axis=-1), axis=-1)
    scale = np.sqrt(np.prod([np.mean(np.sum(w * w, axis=-1), axis=-1) for w in at_points], axis=0))
    return relative(draw.call(inner, mu, u, v), truth, scale)


def norm_of_a_field(sq_norm, draw):
    """Against the mean of ``‖v(x)‖²`` over a cloud with mu's moments."""
    mu, v = draw.gaussians(), draw.tangents()
    x = textbook.cloud(mu)
    truth = np.mean(np.sum(textbook.field(v, mu, x) ** 2, axis=-1), axis=-1)
    return relative(draw.call(sq_norm, mu, v), truth)


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
        ),
        checks=(
            Check(
                "textbook, SciPy sqrtm",
                distance_is_the_textbooks,
                bures.sq_distance,
                {
                    "not squared": lambda mu, nu: np.sqrt(bures.sq_distance(mu, nu)),
                    "half of it": lambda mu, nu: 0.5 * bures.sq_distance(mu, nu),
                    "without the root": lambda mu, nu: _distance(mu, nu, sqrtm(mu.cov) @ nu.cov @ sqrtm(mu.cov)),
                    "as if the covariances commuted": lambda mu, nu: _distance(
                        mu, nu, sqrtm(mu.cov) @ sqrtm(nu.cov)
                    ),
                    "cross term once": lambda mu, nu: 0.5
                    * (bures.sq_distance(mu, nu) + _distance(mu, nu, 0.0 * mu.cov)),
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
                    "divided by n - 1": lambda x, w: Gaussian(
                        moments(x, w).mean, moments(x, w).cov * x.shape[1] / (x.shape[1] - 1)
                    ),
                    "without the weights": lambda x, w: moments(x),
                },
                roundings(300, WELL),
            ),
        ),
    )


def _distance(mu, nu, cross):
    return np.sum((mu.mean - nu.mean) ** 2, axis=-1) + textbook.trace(mu.cov + nu.cov - 2.0 * cross)


def _psd_root(cov):
    values, vectors = np.linalg.eigh(cov)
    return (vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]) @ vectors.mT


def distance_is_the_textbooks(sq_distance, draw):
    """Relative to the traces and the means' distance, of which the formula is a difference."""
    mu, nu = draw.gaussians(), draw.gaussians()
    return relative(draw.call(sq_distance, mu, nu), textbook.sq_distance(mu, nu), _distance(mu, nu, 0.0 * mu.cov))


def distances_are_pots(pairwise_sq_distance, draw):
    """The square of POT's distances, of all pairs of two families."""
    mu, nu = draw.gaussians(size=4), draw.gaussians(size=5)
    roots = pot_gaussian().bures_wasserstein_distance(mu.mean, nu.mean, mu.cov, nu.cov)
    return relative(draw.call(pairwise_sq_distance, mu, nu), np.reshape(roots, (4, 5)) ** 2)


def distance_of_singular_covariances(sq_distance, draw):
    """Rank d / 2, relative to the traces."""
    (mu, F), (nu, G) = draw.singular(), draw.singular()
    truth = np.sum((mu.mean - nu.mean) ** 2, axis=-1) + textbook.each(textbook.exact_sq_bures, F, G)
    return relative(draw.call(sq_distance, mu, nu), truth, _distance(mu, nu, 0.0 * mu.cov))


def nuclear_norm_is_scipys(nuclear_norm, draw):
    """Sum of the singular values."""
    matrix = draw.normal(draw.size, draw.d, draw.d)
    return relative(draw.call(nuclear_norm, matrix), np.sum(textbook.each(scipy.linalg.svdvals, matrix), axis=-1))


def moments_of_a_cloud(moments, draw):
    """Points of weight ``w`` on opposite ends of the axes of an ellipsoid."""
    mu = draw.gaussians()
    half = np.stack([draw.weights(draw.d) for _ in range(draw.size)]) / 2.0
    weights = np.concatenate([half, half], axis=-1)
    axes = np.linalg.cholesky(mu.cov).mT / np.sqrt(2.0 * half)[..., None]
    x = mu.mean[:, None, :] + np.concatenate([axes, -axes], axis=1)
    result = draw.call(moments, x, weights / weights.sum(axis=-1, keepdims=True))
    return max(relative(result.mean, mu.mean, _size(x)), relative(result.cov, mu.cov, _size(x) ** 2))
