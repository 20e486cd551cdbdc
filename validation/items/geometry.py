"""Audited formulas of the Bures-Wasserstein space: maps, tangent vectors, distances."""

import numpy as np

from refwfm import bures, psd
from refwfm.bures import Tangent
from refwfm.measures import Gaussian
from refwfm.validation import edges, slopes, textbook
from refwfm.validation.check import WELL, Check, Item, roundings, worst_of
from refwfm.validation.textbook import identity, pot_gaussian, relative, scaled, size, sqrtm


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_u2(), wfm_u4(), wfm_u5()]


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
            edges.map_check(),
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
    return worst_of(relative(result.mean, mean, size(mu.mean, v.mean)), cov_error)


def log_reaches_the_target(log, draw):
    """Mean and covariance of the textbook's ``exp_mu(log_mu nu)`` against those of nu."""
    mu, nu = draw.gaussians(), draw.gaussians()
    reached = textbook.exp(mu, draw.call(log, mu, nu))
    return worst_of(relative(reached.mean, nu.mean, size(mu.mean, nu.mean)), relative(reached.cov, nu.cov))


def log_of_a_long_step(log_exp, draw):
    """From N(0, I) along S = -3 I the shortest way to N(0, 4 I) is S = I: I + S must not be negative."""
    mu = Gaussian(np.zeros((draw.size, draw.d)), identity(np.zeros((draw.size, draw.d, draw.d))).copy())
    v = Tangent(mu.mean, -3.0 * mu.cov)
    return relative(draw.call(log_exp, mu, v).lift, mu.cov)


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
        statement="The optimal map is affine; C is the symmetric positive solution of C A C = B.",
        functions=(bures.gelbrich_map, bures.push_forward, psd.sqrtm, psd.inv_sqrtm),
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
                roundings(20, "after division by sqrt(κ), κ = 1e10 (float32: 1e4)"),
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
                "closed form, singular covariances",
                map_where_nothing_is_reached,
                bures.gelbrich_map,
                {
                    "zero where neither reaches": lambda mu, nu: bures.gelbrich_map(mu, nu) * (mu.cov > 0),
                    "the map from nu to mu": inexact["the map from nu to mu"],
                    "squared": inexact["squared"],
                },
                roundings(100, "diagonal matrices"),
                dimensions=(2, 3, 6, 16),
            ),
            Check(
                "POT",
                transport_is_pots,
                bures.push_forward,
                {
                    "without the source's mean": lambda x, mu, nu: (
                        nu.mean[:, None] + x @ bures.gelbrich_map(mu, nu)
                    ),
                    "the map from nu to mu": lambda x, mu, nu: bures.push_forward(x, nu, mu),
                },
                roundings(500, WELL),
                size=1,
                needs="ot",
                many_shapes=True,
                repeats=1,
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
            *edges.root_checks(),
            *slopes.root_checks(),
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
    return worst_of(relative(C @ mu.cov @ C, nu.cov) / np.sqrt(condition), asymmetry)


def map_is_mpmaths(gelbrich_map, draw):
    """C against 50 digits, for near-singular covariances."""
    mu, nu, condition = draw.ill_conditioned()
    truth = textbook.each(textbook.exact_gelbrich_map, mu.cov, nu.cov)
    return relative(draw.call(gelbrich_map, mu, nu), truth) / condition


def map_where_nothing_is_reached(gelbrich_map, draw):
    """Diagonal A and B that reach the same half of the axes: ``sqrt(b / a)`` there, 1 on the others."""
    reached = np.arange(draw.d) < (draw.d + 1) // 2
    a, b = (draw.rounded(draw.spectrum(30.0, draw.size, draw.d)) for _ in range(2))
    mu, nu = (Gaussian(draw.normal(draw.size, draw.d), _diagonal(values * reached)) for values in (a, b))
    return relative(draw.call(gelbrich_map, mu, nu), _diagonal(np.where(reached, np.sqrt(b / a), 1.0)))


def _diagonal(values):
    return values[:, :, None] * np.eye(values.shape[1])


def transport_is_pots(transport, draw):
    """Images of random points."""
    mu, nu = draw.gaussians(), draw.gaussians()
    x = draw.normal(draw.size, 5, draw.d)
    matrix, offset = pot_gaussian().bures_wasserstein_mapping(mu.mean[0], nu.mean[0], mu.cov[0], nu.cov[0])
    return relative(
        draw.call(transport, x, mu, nu)[0], x[0] @ matrix + offset, size(x[0] @ matrix + offset).max()
    )


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
        functions=(bures.inner, bures.sq_tangent_norm),
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
                bures.sq_tangent_norm,
                {
                    "half, as a kinetic energy": lambda mu, v: 0.5 * bures.sq_tangent_norm(mu, v),
                    "not squared": lambda mu, v: np.sqrt(bures.sq_tangent_norm(mu, v)),
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
