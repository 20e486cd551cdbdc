"""Audited formulas of curves: geodesics between Gaussians, their continuity equation and their energy."""

import numpy as np

from refwfm import bures, psd
from refwfm.bures import Tangent
from refwfm.measures import Gaussian
from refwfm.validation import edges, textbook
from refwfm.validation.check import WELL, Check, Item, Misprint, differences, roundings, worst_of
from refwfm.validation.draws import symmetric
from refwfm.validation.textbook import UNDEFINED, block, derivative, mover, relative, scaled, sqrtm


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_1(), wfm_2(), wfm_6(), wfm_8()]


# WFM-1 (and WFM-5, the same with end points)


def wfm_1() -> Item:
    """Continuity equation."""
    return Item(
        id="WFM-1",
        paper="WFM",
        place="section 2.1, eqs. 1 and 5",
        title="continuity equation",
        latex=r"\partial_t\gamma_t+\nabla\cdot(\gamma_tw_t)=0",
        statement="The velocity moves the mass of the geodesic: checked on densities, and on plane waves.",
        functions=(bures.path,),
        checks=(
            Check(
                "finite differences of the density",
                density_is_transported,
                bures.path,
                {
                    "the sign of S": lambda mu, nu, t: _with_lift(mu, nu, t, lambda S, cov: -S),
                    "half of S": lambda mu, nu, t: _with_lift(mu, nu, t, lambda S, cov: 0.5 * S),
                    "dΣ/dt instead of S": lambda mu, nu, t: _with_lift(
                        mu, nu, t, lambda S, cov: S @ cov + cov @ S
                    ),
                },
                differences(500, "condition number 30, d up to 6"),
                dimensions=(1, 2, 3, 6),
            ),
            Check(
                "closed form of plane waves",
                plane_waves_are_transported,
                bures.path,
                {
                    "the field S x instead of S (x - m)": _not_centred,
                    "the sign of the mean's velocity": _mean_backwards,
                },
                differences(500, "condition number 30, d up to 6"),
                dimensions=(1, 2, 3, 6),
            ),
        ),
    )


def _with_lift(mu, nu, t, change):
    point, v = bures.path(mu, nu, t)
    return point, Tangent(v.mean, change(v.lift, point.cov))


def _not_centred(mu, nu, t):
    point, v = bures.path(mu, nu, t)
    return point, Tangent(v.mean + (v.lift @ point.mean[..., None])[..., 0], v.lift)


def _mean_backwards(mu, nu, t):
    point, v = bures.path(mu, nu, t)
    return point, Tangent(-v.mean, v.lift)


def density_is_transported(path, draw):
    """``∂_t log ρ + tr S + ⟨v, ∇ log ρ⟩`` at points one deviation away; the density is the textbook's."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    point, v = draw.call(path, mu, nu, t)
    truth, _ = textbook.path(mu, nu, t)
    x = textbook.cloud(truth) / 1.0
    rate = derivative(lambda s: _log_density(textbook.path(mu, nu, s)[0], x), t)
    score = -np.linalg.solve(truth.cov, (x - truth.mean[:, None, :]).mT).mT
    along = np.sum(textbook.field(v, point, x) * score, axis=-1)
    return relative(along + textbook.trace(v.lift)[:, None], -rate, 1.0 + np.max(np.abs(along), axis=1))


def _log_density(mu, x):
    centred = x - mu.mean[:, None, :]
    square = np.sum(centred * np.linalg.solve(mu.cov, centred.mT).mT, axis=-1)
    return -0.5 * (square + np.linalg.slogdet(2.0 * np.pi * mu.cov)[1][:, None])


def plane_waves_are_transported(path, draw):
    """``d/dt E exp(i⟨k, X_t⟩) = E⟨∇ exp(i⟨k, x⟩), v_t(x)⟩``, both sides in closed form."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    k = draw.normal(draw.size, draw.d) / np.sqrt(draw.d)
    point, v = draw.call(path, mu, nu, t)
    truth = derivative(lambda s: _characteristic(textbook.path(mu, nu, s)[0], k), t)
    mean_part = np.sum(k * v.mean, axis=-1)
    lift_part = np.sum(k * (v.lift @ point.cov @ k[..., None])[..., 0], axis=-1)
    result = (1j * mean_part - lift_part) * _characteristic(point, k)
    return relative(result, truth, 1.0 + np.abs(mean_part) + np.abs(lift_part))


def _characteristic(mu, k):
    variance = np.sum(k * (mu.cov @ k[..., None])[..., 0], axis=-1)
    return np.exp(1j * np.sum(k * mu.mean, axis=-1) - 0.5 * variance)


# WFM-2


def wfm_2() -> Item:
    """Conditional path."""
    return Item(
        id="WFM-2",
        paper="WFM",
        place="section 2.1, eq. 2",
        title="conditional path of Riemannian flow matching",
        latex=r"x_t=\exp_x(t\log_xy)=\exp_y((1-t)\log_yx)",
        statement="The path of conditional flow matching starts at the source and ends at the target.",
        functions=(bures.exp, bures.log),
        checks=(
            Check(
                "textbook geodesic",
                curve_is_the_geodesic,
                lambda mu, nu, t: bures.exp(mu, _times(t, bures.log(mu, nu))),
                {
                    "as printed: exp((1 - t) log)": lambda mu, nu, t: bures.exp(
                        mu, scaled(1.0 - t, bures.log(mu, nu))
                    ),
                    "from the target with t": lambda mu, nu, t: bures.exp(nu, scaled(t, bures.log(nu, mu))),
                },
                roundings(500, WELL),
            ),
        ),
        misprints=(
            Misprint(
                "E2",
                r"x_t=\exp_x((1-t)\log_xy)",
                r"x_t=\exp_x(t\log_xy)",
                "As printed (also in appendix B) the curve is at the target at t = 0, against eq. 4.",
                "as printed: exp((1 - t) log)",
            ),
        ),
    )


def _times(t, v):
    return Tangent(t[..., None] * v.mean, t[..., None, None] * v.lift)


def curve_is_the_geodesic(curve, draw):
    """Mean and covariance at time t."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    return _gaussian_error(draw.call(curve, mu, nu, t), textbook.path(mu, nu, t)[0])


def _gaussian_error(result, truth):
    mean_scale = np.sqrt(np.sum(truth.mean**2, axis=-1) + textbook.trace(truth.cov))
    return worst_of(relative(result.mean, truth.mean, mean_scale), relative(result.cov, truth.cov))


# WFM-6


def wfm_6() -> Item:
    """Benamou-Brenier."""
    return Item(
        id="WFM-6",
        paper="WFM",
        place="section 2.1, eq. 6",
        title="kinetic energy (Benamou-Brenier)",
        latex=r"W_2^2(\mu,\nu)=\inf_{(\mu_t,v_t)}\int_0^1\|v_t\|^2_{L^2(\mu_t)}\,dt",
        statement="The geodesic's energy is W2² at every time (no factor ½); other curves need more.",
        functions=(bures.path, bures.sq_tangent_norm),
        checks=(
            Check(
                "textbook distance, SciPy sqrtm",
                energy_is_the_squared_distance,
                _energy,
                {
                    "half, as a kinetic energy": lambda mu, nu, t: 0.5 * _energy(mu, nu, t),
                    "Frobenius norm of dΣ/dt": lambda mu, nu, t: np.sum(
                        bures.euclidean_velocity(mu, nu, t).cov ** 2, axis=(-2, -1)
                    ),
                    "the mixture of covariances": _energy_of_the_mixture,
                },
                roundings(500, WELL),
            ),
        ),
    )


def _energy(mu, nu, t):
    return bures.sq_tangent_norm(*bures.path(mu, nu, t))


def _energy_of_the_mixture(mu, nu, t):
    cov = (1.0 - block(t)) * mu.cov + block(t) * nu.cov
    v = Tangent(nu.mean - mu.mean, textbook.lyapunov(cov, nu.cov - mu.cov))
    return textbook.inner(Gaussian(mu.mean, cov), v, v)


def energy_is_the_squared_distance(energy, draw):
    """``‖v_t‖²`` in L²(mu_t) at a random time, relative to W2² and the traces."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    truth = textbook.sq_distance(mu, nu)
    return relative(draw.call(energy, mu, nu, t), truth, truth + textbook.trace(mu.cov + nu.cov))


# WFM-8


def wfm_8() -> Item:
    """Geodesic."""
    wrong = {
        "the mixture of covariances": lambda mu, nu, t: Gaussian(
            bures.interpolate(mu, nu, t).mean, (1.0 - block(t)) * mu.cov + block(t) * nu.cov
        ),
        "T_t once": lambda mu, nu, t: Gaussian(bures.interpolate(mu, nu, t).mean, mover(mu, nu, t) @ mu.cov),
        "backwards in time": lambda mu, nu, t: bures.interpolate(mu, nu, 1.0 - t),
        "B T_t instead of A": lambda mu, nu, t: Gaussian(
            bures.interpolate(mu, nu, t).mean, mover(mu, nu, t) @ nu.cov @ mover(mu, nu, t)
        ),
    }
    return Item(
        id="WFM-8",
        paper="WFM",
        place="section 2.2, eq. 8",
        title="geodesic between Gaussians",
        latex=r"m_t=(1-t)m_\mu+tm_\nu,\quad \Sigma_t=T_tAT_t,\quad T_t=(1-t)I+tC",
        statement="McCann's interpolation of two Gaussians is a Gaussian.",
        functions=(bures.interpolate, psd.procrustes_factors, psd.turned, psd.factor),
        checks=(
            Check(
                "textbook, SciPy sqrtm",
                curve_is_the_geodesic,
                bures.interpolate,
                wrong,
                roundings(500, WELL),
            ),
            Check(
                "thin factors, singular covariances",
                geodesic_of_singular_covariances,
                bures.interpolate,
                {
                    "the mixture of covariances": wrong["the mixture of covariances"],
                    "backwards in time": wrong["backwards in time"],
                    "roots mixed, not turned": lambda mu, nu, t: Gaussian(
                        bures.interpolate(mu, nu, t).mean, _mixed_roots(mu, nu, t)
                    ),
                },
                roundings(300, "the overlap of the factors may be small"),
                dimensions=(2, 3, 6, 16),
            ),
            Check(
                "defining equations",
                factors_are_turned,
                psd.procrustes_factors,
                {
                    "not turned": lambda A, B: (np.linalg.cholesky(A), np.linalg.cholesky(B)),
                    "turned the other way": _turned_the_other_way,
                    "half a turn too far": lambda A, B: (psd.factor(A), -psd.procrustes_factors(A, B)[1]),
                },
                roundings(300, WELL),
            ),
            Check(
                "defining equation",
                factor_is_one,
                psd.factor,
                {
                    "transposed": lambda cov: psd.factor(cov).mT,
                    "eigenvalues without the root": lambda cov: (
                        np.linalg.eigh(cov)[1] * np.linalg.eigvalsh(cov)[:, None, :]
                    ),
                },
                roundings(100, WELL),
                dimensions=(2, 3, 6, 16),
            ),
            *edges.factor_checks(),
        ),
        misprints=(UNDEFINED,),
    )


def _mixed_roots(mu, nu, t):
    mixed = (1.0 - block(t)) * psd.sqrtm(mu.cov) + block(t) * psd.sqrtm(nu.cov)
    return mixed @ mixed.mT


def _turned_the_other_way(A, B):
    L, K = sqrtm(A), sqrtm(B)
    left, _, right = np.linalg.svd(L.mT @ K)
    return L, K @ left @ right


def geodesic_of_singular_covariances(interpolate, draw):
    """Rank d / 2: ``Σ_t = M Mᵀ`` with factors (d, r) turned by SciPy's singular value decomposition."""
    (mu, F), (nu, G), t = draw.singular(), draw.singular(), draw.times()
    return relative(draw.call(interpolate, mu, nu, t).cov, textbook.thin_path(F, G, t)[0])


def factors_are_turned(procrustes_factors, draw):
    """``L Lᵀ = A``, ``K Kᵀ = B``, and ``Lᵀ K`` symmetric without negative eigenvalues."""
    A, B = draw.covariances(), draw.covariances()
    L, K = draw.call(procrustes_factors, A, B)
    cross = L.mT @ K
    size = np.max(np.abs(cross), axis=(-2, -1))
    lowest = np.linalg.eigvalsh(symmetric(cross))[:, 0]
    asymmetry = relative(cross, cross.mT, size)
    return worst_of(relative(L @ L.mT, A), relative(K @ K.mT, B), asymmetry, float(np.max(-lowest / size)))


def factor_is_one(factor, draw):
    """``L Lᵀ = A``."""
    cov = draw.covariances()
    L = draw.call(factor, cov)
    return relative(L @ L.mT, cov)
