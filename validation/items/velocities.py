"""Audited formulas of velocities: the Euclidean and the Riemannian derivative of a geodesic."""

import numpy as np

from refwfm import bures, psd
from refwfm.bures import EuclideanTangent, Tangent
from refwfm.measures import Gaussian
from refwfm.validation import edges, textbook
from refwfm.validation.check import WELL, Check, Item, Tolerance, differences, roundings, worst_of
from refwfm.validation.textbook import UNDEFINED, block, derivative, identity, mover, relative, scaled, sqrtm


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [wfm_9(), wfm_10()]


# WFM-9


def wfm_9() -> Item:
    """Euclidean derivative."""
    return Item(
        id="WFM-9",
        paper="WFM",
        place="section 2.2, eq. 9",
        title="Euclidean and Riemannian derivative",
        latex=r"\dot\Sigma_t=\dot T_tAT_t+T_tA\dot T_t=S_t\Sigma_t+\Sigma_tS_t,\quad \dot T_t=C-I",
        statement="Derivative of the covariance and matrix of the velocity field: a Lyapunov equation.",
        functions=(
            bures.euclidean_path,
            bures.euclidean_velocity,
            bures.to_euclidean,
            bures.from_euclidean,
            psd.solve_lyapunov,
            psd.solve_lift,
            psd.lift_and_kernel,
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
                differences(500, WELL),
            ),
            Check(
                "textbook, SciPy sqrtm",
                rate_is_the_textbooks,
                bures.euclidean_velocity,
                {
                    "one of the two terms": lambda mu, nu, t: scaled(0.5, textbook.euclidean_rate(mu, nu, t)),
                    "at the other time": lambda mu, nu, t: textbook.euclidean_rate(mu, nu, 1.0 - t),
                },
                roundings(500, WELL),
            ),
            Check(
                "thin factors, singular covariances",
                rate_of_singular_covariances,
                bures.euclidean_velocity,
                {"one of the two terms": lambda mu, nu, t: scaled(0.5, bures.euclidean_velocity(mu, nu, t))},
                roundings(300, "the overlap of the factors may be small"),
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
                roundings(500, "condition number 30, d up to 16"),
            ),
            Check(
                "SciPy solve_continuous_lyapunov, of tangents",
                lyapunov_of_a_tangent,
                bures.from_euclidean,
                {"twice": lambda cov, v: Tangent(v.mean, 2.0 * textbook.lyapunov(cov, v.cov))},
                roundings(500, "condition number 30, d up to 16"),
            ),
            Check(
                "SciPy solve_continuous_lyapunov, from factors",
                lift_from_factors,
                psd.solve_lift,
                {
                    "not symmetric": lambda M, rate: rate @ np.linalg.inv(M),
                    "of the transposed factors": lambda M, rate: psd.solve_lift(M.mT, rate.mT),
                },
                roundings(500, "condition number of the random factors up to 30"),
                dimensions=(2, 3, 6, 16),
            ),
            *edges.lift_checks(),
            Check(
                "their transposes, to the bit",
                solutions_are_symmetric,
                _solutions,
                {
                    "one triangle rounded up": lambda *given: [_rounded_up(S) for S in _solutions(*given)],
                    "not symmetrised": lambda cov, D, M, rate: [
                        textbook.lyapunov(cov, D),
                        rate @ np.linalg.inv(M),
                    ],
                },
                Tolerance(0.0, 0.0, "none: the last step is the mean with the transpose"),
            ),
        ),
        misprints=(UNDEFINED,),
    )


def _solutions(cov, D, M, rate):
    return [psd.solve_lyapunov(cov, D), psd.solve_lift(M, rate)]


def _rounded_up(S):
    return np.where(np.tri(S.shape[-1], k=-1) > 0, np.nextafter(S, np.inf), S)


def solutions_are_symmetric(solve, draw):
    """Largest difference of a solution and its transpose."""
    M, rate = draw.rotations(draw.size) @ sqrtm(draw.covariances()), draw.normal(draw.size, draw.d, draw.d)
    found = draw.call(solve, draw.covariances(), draw.tangents().lift, draw.rounded(M), rate)
    return worst_of(*(float(np.max(np.abs(S - S.mT))) for S in found))


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
    return worst_of(mean_error, relative(result[1], cov, np.max(np.abs(size), axis=(-2, -1))))


def field_moves_the_covariance(to_euclidean, draw):
    """``d/dh`` of the covariance of ``exp(h v)`` at h = 0; S is not symmetric."""
    mu = draw.gaussians()
    v = Tangent(draw.normal(*mu.mean.shape), draw.normal(*mu.cov.shape))
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
        "without C - I": lambda mu, nu, t: Tangent(nu.mean - mu.mean, np.linalg.inv(mover(mu, nu, t))),
    }
    return Item(
        id="WFM-10",
        paper="WFM",
        place="section 2.2, eq. 10",
        title="Riemannian velocity of the geodesic",
        latex=r"\dot m_t=m_\nu-m_\mu,\qquad S_t=(C-I)\,T_t^{-1}",
        statement="The affine field that moves the geodesic; S_t is symmetric and solves WFM-9.",
        functions=(bures.velocity, bures.path),
        checks=(
            Check(
                "textbook, SciPy sqrtm",
                velocity_is_the_textbooks,
                bures.velocity,
                wrong,
                roundings(500, WELL),
            ),
            Check(
                "SciPy solve_continuous_lyapunov",
                velocity_solves_lyapunov,
                bures.velocity,
                wrong,
                roundings(500, WELL),
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
                roundings(500, "the overlap of the factors may be small"),
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
    return worst_of(relative(result[1], result[1].mT), _rate_error(result, *truth, 1.0 + np.abs(truth.lift)))


def velocity_solves_lyapunov(velocity, draw):
    """Matrix against SciPy's solution of WFM-9."""
    mu, nu, t = draw.gaussians(), draw.gaussians(), draw.times()
    cov = textbook.path(mu, nu, t)[0].cov
    mean, rate = textbook.euclidean_rate(mu, nu, t)
    truth = textbook.lyapunov(cov, rate)
    return _rate_error(draw.call(velocity, mu, nu, t), mean, truth, 1.0 + np.abs(truth))


def velocity_of_singular_covariances(velocity, draw):
    """Rank d / 2: ``S Σ_t + Σ_t S`` against ``dΣ_t/dt``, relative to the size of its terms."""
    (mu, F), (nu, G), t = draw.singular(), draw.singular(), draw.times()
    v = draw.call(velocity, mu, nu, t)
    cov, truth = textbook.thin_path(F, G, t)
    half = v[1] @ cov
    sizes = [np.max(np.abs(each), axis=(-2, -1)) for each in (v[1], cov, truth)]
    return relative(half + half.mT, truth, sizes[0] * sizes[1] + sizes[1] + sizes[2])


def velocity_from_a_dirac(velocity, draw):
    """From a point mass ``Σ_t = t² B``, so ``S_t = I / t``."""
    nu, t = draw.gaussians(), draw.times(low=0.2)
    mu = Gaussian(draw.normal(*nu.mean.shape), 0.0 * nu.cov)
    return relative(draw.call(velocity, mu, nu, t)[1], identity(nu.cov) / block(t), 1.0 / t)
