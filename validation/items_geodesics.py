"""Audited formulas of curves: geodesics between Gaussians, their velocities and their energy."""

import numpy as np

from refwfm import bures, psd
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.validation import textbook
from refwfm.validation.check import Check, Item, Misprint, differences, roundings
from refwfm.validation.draws import symmetric
from refwfm.validation.textbook import block, column, derivative, identity, relative, scaled, sqrtm

WELL = "condition number 30, d up to 16, and SciPy's root beside ours"
UNDEFINED = Misprint(
    "E18",
    r"A, B stand in (8)-(10) without a definition; T_t is both the map and its matrix",
    r"A = \Sigma_\mu, B = \Sigma_\nu, T_t = (1-t) I + t C",
    "Notation only: with these readings the formula holds as printed.",
)


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_1(), wfm_2(), wfm_6(), wfm_8(), wfm_9(), wfm_10()]


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
                differences(3000, "condition number 30, d up to 6"),
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
                differences(3000, "condition number 30, d up to 6"),
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
        statement="The path that conditional flow matching regresses on starts at the source and ends at the target.",
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
                roundings(1000, WELL),
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
    return max(relative(result.mean, truth.mean, mean_scale), relative(result.cov, truth.cov))


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
        functions=(bures.path, bures.sq_norm),
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
                roundings(1000, WELL),
            ),
        ),
    )


def _energy(mu, nu, t):
    return bures.sq_norm(*bures.path(mu, nu, t))


def _energy_of_the_mixture(mu, nu, t):
    cov = (1.0 - block(t)) * mu.cov + block(t) * nu.cov
    v = Tangent(nu.mean - mu.mean, textbook.lyapunov(cov, nu.cov - mu.cov))
    return textbook.inner(Gaussian(mu.mean, cov), v, v)


def energy_is_the_squared_distance(energy, draw):
    """``‖v_t‖²`` in L²(mu_t) at a random time."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    return relative(draw.call(energy, mu, nu, t), textbook.sq_distance(mu, nu))


# WFM-8


def wfm_8() -> Item:
    """Geodesic."""
    wrong = {
        "the mixture of covariances": lambda mu, nu, t: Gaussian(
            bures.interpolate(mu, nu, t).mean, (1.0 - block(t)) * mu.cov + block(t) * nu.cov
        ),
        "T_t once": lambda mu, nu, t: Gaussian(bures.interpolate(mu, nu, t).mean, _mover(mu, nu, t) @ mu.cov),
        "backwards in time": lambda mu, nu, t: bures.interpolate(mu, nu, 1.0 - t),
        "B T_t instead of A": lambda mu, nu, t: Gaussian(
            bures.interpolate(mu, nu, t).mean, _mover(mu, nu, t) @ nu.cov @ _mover(mu, nu, t)
        ),
    }
    return Item(
        id="WFM-8",
        paper="WFM",
        place="section 2.2, eq. 8",
        title="geodesic between Gaussians",
        latex=r"m_t=(1-t)m_\mu+tm_\nu,\quad \Sigma_t=T_tAT_t,\quad T_t=(1-t)I+tC",
        statement="McCann's interpolation of two Gaussians is a Gaussian.",
        functions=(bures.interpolate, psd.procrustes_factors, psd.factor),
        checks=(
            Check(
                "textbook, SciPy sqrtm",
                curve_is_the_geodesic,
                bures.interpolate,
                wrong,
                roundings(1000, WELL),
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
                roundings(2000, "the overlap of the factors may be small"),
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
                    "eigenvalues without the root": lambda cov: np.linalg.eigh(cov)[1]
                    * np.linalg.eigvalsh(cov)[:, None, :],
                },
                roundings(100, WELL),
                dimensions=(2, 3, 6, 16),
            ),
        ),
        misprints=(UNDEFINED,),
    )


def _mover(mu, nu, t):
    return (1.0 - block(t)) * identity(mu.cov) + block(t) * textbook.gelbrich_map(mu.cov, nu.cov)


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
    return max(relative(L @ L.mT, A), relative(K @ K.mT, B), asymmetry, float(np.max(-lowest / size)))


def factor_is_one(factor, draw):
    """``L Lᵀ = A``."""
    cov = draw.covariances()
    L = draw.call(factor, cov)
    return relative(L @ L.mT, cov)


# WFM-9


def wfm_9() -> Item:
    """Euclidean derivative."""
    return Item(
        id="WFM-9",
        paper="WFM",
        place="section 2.2, eq. 9",
        title="Euclidean and Riemannian derivative",
        latex=r"\dot\Sigma_t=\dot T_tAT_t+T_tA\dot T_t=S_t\Sigma_t+\Sigma_tS_t,\quad \dot T_t=C-I",
        statement="The derivative of the covariance and the matrix of the velocity field solve a Lyapunov equation.",
        functions=(
            bures.euclidean_path,
            bures.euclidean_velocity,
            bures.to_euclidean,
            bures.from_euclidean,
            psd.solve_lyapunov,
            psd.solve_lift,
        ),
        checks=(
            Check(
                "finite differences of the textbook geodesic",
                rate_is_the_difference,
                lambda mu, nu, t: bures.euclidean_path(mu, nu, t)[1],
                {
                    "S_t, the Riemannian velocity": bures.velocity,
                    "one of the two terms": lambda mu, nu, t: EuclideanTangent(
                        nu.mean - mu.mean, 0.5 * bures.euclidean_velocity(mu, nu, t).cov
                    ),
                    "the sign": lambda mu, nu, t: scaled(-1.0, bures.euclidean_velocity(mu, nu, t)),
                    "the straight line B - A": lambda mu, nu, t: EuclideanTangent(
                        nu.mean - mu.mean, nu.cov - mu.cov
                    ),
                },
                differences(1000, WELL),
            ),
            Check(
                "textbook, SciPy sqrtm",
                rate_is_the_textbooks,
                bures.euclidean_velocity,
                {
                    "one of the two terms": lambda mu, nu, t: scaled(0.5, textbook.euclidean_rate(mu, nu, t)),
                    "at the other time": lambda mu, nu, t: textbook.euclidean_rate(mu, nu, 1.0 - t),
                },
                roundings(1000, WELL),
            ),
            Check(
                "thin factors, singular covariances",
                rate_of_singular_covariances,
                bures.euclidean_velocity,
                {"one of the two terms": lambda mu, nu, t: scaled(0.5, bures.euclidean_velocity(mu, nu, t))},
                roundings(2000, "the overlap of the factors may be small"),
                dimensions=(2, 3, 6, 16),
            ),
            Check(
                "finite differences of the push-forward",
                field_moves_the_covariance,
                bures.to_euclidean,
                {
                    "one of the two terms": lambda cov, v: EuclideanTangent(v.mean, v.lift @ cov),
                    "S itself": lambda cov, v: EuclideanTangent(*v),
                },
                differences(300),
            ),
            Check(
                "SciPy solve_continuous_lyapunov",
                lyapunov_is_scipys,
                psd.solve_lyapunov,
                {
                    "product of the eigenvalues": lambda cov, D: np.linalg.solve(cov, D) @ np.linalg.inv(cov),
                    "as if they commuted": lambda cov, D: 0.5 * np.linalg.solve(cov, D),
                    "twice": lambda cov, D: 2.0 * textbook.lyapunov(cov, D),
                },
                roundings(1000, "condition number 30, d up to 16"),
            ),
            Check(
                "SciPy solve_continuous_lyapunov, of tangents",
                lyapunov_of_a_tangent,
                bures.from_euclidean,
                {"twice": lambda cov, v: Tangent(v.mean, 2.0 * textbook.lyapunov(cov, v.cov))},
                roundings(1000, "condition number 30, d up to 16"),
            ),
            Check(
                "SciPy solve_continuous_lyapunov, from factors",
                lift_from_factors,
                psd.solve_lift,
                {
                    "not symmetric": lambda M, rate: rate @ np.linalg.inv(M),
                    "of the transposed factors": lambda M, rate: psd.solve_lift(M.mT, rate.mT),
                },
                roundings(3000, "condition number of the random factors up to 30"),
                dimensions=(2, 3, 6, 16),
            ),
        ),
        misprints=(UNDEFINED,),
    )


def rate_is_the_difference(euclidean_velocity, draw):
    """``d/dt`` of mean and covariance."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    truth = derivative(lambda s: textbook.path(mu, nu, s)[0].cov, block(t)[:, 0, 0])
    return _rate_error(draw.call(euclidean_velocity, mu, nu, t), nu.mean - mu.mean, truth, mu.cov + nu.cov)


def rate_is_the_textbooks(euclidean_velocity, draw):
    """``(C - I) A T_t + T_t A (C - I)``."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    truth = textbook.euclidean_rate(mu, nu, t)
    return _rate_error(draw.call(euclidean_velocity, mu, nu, t), *truth, mu.cov + nu.cov)


def rate_of_singular_covariances(euclidean_velocity, draw):
    """Rank d / 2: ``Ṁ Mᵀ + M Ṁᵀ``."""
    (mu, F), (nu, G), t = draw.singular(), draw.singular(), draw.times()
    truth = textbook.thin_path(F, G, t)[1]
    return _rate_error(draw.call(euclidean_velocity, mu, nu, t), nu.mean - mu.mean, truth, mu.cov + nu.cov)


def _rate_error(result, mean, cov, size):
    mean_error = relative(result[0], mean, np.max(np.abs(mean)))
    return max(mean_error, relative(result[1], cov, np.max(np.abs(size), axis=(-2, -1))))


def field_moves_the_covariance(to_euclidean, draw):
    """``d/dh`` of the covariance of ``exp(h v)`` at h = 0."""
    mu, v = draw.gaussians(), draw.tangents()
    truth = derivative(lambda h: textbook.exp(mu, scaled(h, v)).cov)
    return _rate_error(draw.call(to_euclidean, mu.cov, v), v.mean, truth, mu.cov)


def lyapunov_is_scipys(solve_lyapunov, draw):
    """``S`` of ``S Σ + Σ S = D`` for a random symmetric D."""
    cov, D = draw.covariances(), draw.tangents().lift
    return relative(draw.call(solve_lyapunov, cov, D), textbook.lyapunov(cov, D))


def lyapunov_of_a_tangent(from_euclidean, draw):
    """The same, and the mean's velocity unchanged."""
    mu, v = draw.gaussians(), EuclideanTangent(*draw.tangents())
    result = draw.call(from_euclidean, mu.cov, v)
    return _rate_error(result, v.mean, textbook.lyapunov(mu.cov, v.cov), textbook.lyapunov(mu.cov, v.cov))


def lift_from_factors(solve_lift, draw):
    """``S M Mᵀ + M Mᵀ S = Ṁ Mᵀ + M Ṁᵀ`` for random factors M and rates Ṁ."""
    M = draw.rounded(draw.rotations(draw.size) @ sqrtm(draw.covariances()))
    rate = draw.normal(draw.size, draw.d, draw.d)
    truth = textbook.lyapunov(M @ M.mT, rate @ M.mT + M @ rate.mT)
    return relative(draw.call(solve_lift, M, rate), truth)


# WFM-10


def wfm_10() -> Item:
    """Riemannian velocity."""
    wrong = {
        "the sign": lambda mu, nu, t: scaled(-1.0, bures.velocity(mu, nu, t)),
        "dΣ/dt, the left side of (9)": bures.euclidean_velocity,
        "C - I, the velocity at t = 0": lambda mu, nu, t: bures.log(mu, nu),
        "twice": lambda mu, nu, t: scaled(2.0, bures.velocity(mu, nu, t)),
        "without C - I": lambda mu, nu, t: Tangent(nu.mean - mu.mean, np.linalg.inv(_mover(mu, nu, t))),
    }
    return Item(
        id="WFM-10",
        paper="WFM",
        place="section 2.2, eq. 10",
        title="Riemannian velocity of the geodesic",
        latex=r"\dot m_t=m_\nu-m_\mu,\qquad S_t=(C-I)\,T_t^{-1}",
        statement="The affine field that moves the geodesic; S_t is symmetric and solves the equation of WFM-9.",
        functions=(bures.velocity, bures.path),
        checks=(
            Check("textbook, SciPy sqrtm", velocity_is_the_textbooks, bures.velocity, wrong, roundings(3000, WELL)),
            Check(
                "SciPy solve_continuous_lyapunov",
                velocity_solves_lyapunov,
                bures.velocity,
                wrong,
                roundings(3000, WELL),
            ),
            Check(
                "thin factors, singular covariances",
                velocity_of_singular_covariances,
                bures.velocity,
                {
                    "the sign": wrong["the sign"],
                    "twice": wrong["twice"],
                    "dΣ/dt, the left side of (9)": bures.euclidean_velocity,
                },
                roundings(3000, "the overlap of the factors may be small"),
                dimensions=(2, 3, 6, 16),
            ),
            Check(
                "closed form, Dirac source",
                velocity_from_a_dirac,
                bures.velocity,
                {
                    "1 - t instead of t": lambda mu, nu, t: bures.velocity(mu, nu, 1.0 - t),
                    "the sign": wrong["the sign"],
                },
                roundings(300, WELL),
            ),
        ),
        misprints=(UNDEFINED,),
    )


def velocity_is_the_textbooks(velocity, draw):
    """Mean and matrix; the matrix must be symmetric."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    result, truth = draw.call(velocity, mu, nu, t), textbook.path(mu, nu, t)[1]
    return max(relative(result[1], result[1].mT), _rate_error(result, *truth, truth.lift))


def velocity_solves_lyapunov(velocity, draw):
    """Matrix against SciPy's solution of WFM-9."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    cov = textbook.path(mu, nu, t)[0].cov
    mean, rate = textbook.euclidean_rate(mu, nu, t)
    truth = textbook.lyapunov(cov, rate)
    return _rate_error(draw.call(velocity, mu, nu, t), mean, truth, truth)


def velocity_of_singular_covariances(velocity, draw):
    """Rank d / 2: ``S Σ_t + Σ_t S`` against ``dΣ_t/dt``, relative to the size of its terms."""
    (mu, F), (nu, G), t = draw.singular(), draw.singular(), draw.times()
    v = draw.call(velocity, mu, nu, t)
    cov, truth = textbook.thin_path(F, G, t)
    half = v[1] @ cov
    sizes = [np.max(np.abs(each), axis=(-2, -1)) for each in (v[1], cov, truth)]
    return relative(half + half.mT, truth, sizes[0] * sizes[1] + sizes[2])


def velocity_from_a_dirac(velocity, draw):
    """From a point mass ``Σ_t = t² B``, so ``S_t = I / t``."""
    nu, t = draw.gaussians(), draw.times(low=0.2)
    mu = Gaussian(draw.normal(*nu.mean.shape), 0.0 * nu.cov)
    return relative(draw.call(velocity, mu, nu, t)[1], identity(nu.cov) / block(t), 1.0 / t)
