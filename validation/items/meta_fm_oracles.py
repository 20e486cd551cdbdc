"""Audited formulas of Meta Flow Matching: what it converges to, and the floor of its loss."""

import numpy as np

from refwfm.measures import Gaussian
from refwfm.populations import oracles
from refwfm.validation.check import STANDARD_ERRORS, Check, Item, Tolerance, differences, roundings, worst_of
from refwfm.validation.textbook import relative

PAPER = "Meta FM"
SIGMA, TAU = 0.75, 0.25
SMALL = (1, 2, 3)
WELL = roundings(1000, "exponents up to a few hundred")


def items() -> list[Item]:
    """Return the items in the order of the specification."""
    return [fm_12(), fm_13(), fm_15()]


def log_density(x, t, centres, weights):
    """Of ``p_t`` at rows x (n, d), complex ones too, up to a constant."""
    s2 = TAU**2 + (1 - t) ** 2 * SIGMA**2
    far = np.sum((x[:, None] - centres[None]) ** 2, axis=-1)
    exponent = np.log(weights) - far / (2 * s2)
    most = exponent.real.max(axis=1, keepdims=True)
    return np.log(np.sum(np.exp(exponent - most), axis=1)) + most[:, 0]


def score(x, t, centres, weights):
    """Gradient of the log density, by complex steps."""
    h = 1e-30
    return np.stack(
        [log_density(x + 1j * h * e, t, centres, weights).imag / h for e in np.eye(x.shape[1])], axis=1
    )


def problem(draw):
    """Points of all members, times, centres, weights."""
    x, centres = draw.normal(draw.size, 6, draw.d), draw.normal(draw.size, 5, draw.d)
    weights = np.stack([draw.weights(5) for _ in range(draw.size)])
    return draw.rounded(1.5 * x), draw.times(0.02, 0.9), centres, weights


def fm_12() -> Item:
    """Denoising velocity of a mixture."""
    velocity = oracles.denoising_velocity

    def wrong(function):
        """A variant of how the arguments are used."""
        return lambda x, t, c, *, sigma, tau, weights: function(
            x, t[:, None, None], c, sigma, tau, weights, velocity
        )

    return Item(
        id="META-FM-12",
        paper=PAPER,
        place="specification, closed-form oracle",
        title="velocity that flow matching converges to",
        latex=r"v^\star_t(x)=-\frac{(1-t)\sigma^2}{s_t^2}\Big(x-\sum_jw_jc_j\Big),\quad "
        r"s_t^2=\tau^2+(1-t)^2\sigma^2,\; w=\mathrm{softmax}_j\big(\log p_j-\|x-c_j\|^2/2s_t^2\big)",
        statement="The mean velocity of noisy particles is a multiple of the score of their law.",
        functions=(velocity, oracles.sample_mixture),
        checks=(
            Check(
                "complex-step gradient of the log density",
                velocity_is_score,
                velocity,
                {
                    "without 1 - t": wrong(
                        lambda x, t, c, s, tau, w, v: (
                            v(x, t[:, 0, 0], c, sigma=s, tau=tau, weights=w) / (1 - t)
                        )
                    ),
                    "σ for σ²": wrong(
                        lambda x, t, c, s, tau, w, v: v(x, t[:, 0, 0], c, sigma=s, tau=tau, weights=w) / s
                    ),
                    "s_t without τ": wrong(
                        lambda x, t, c, s, tau, w, v: v(x, t[:, 0, 0], c, sigma=s, tau=0.0, weights=w)
                    ),
                    "away from the centres": wrong(
                        lambda x, t, c, s, tau, w, v: -v(x, t[:, 0, 0], c, sigma=s, tau=tau, weights=w)
                    ),
                    "noise grows with t": wrong(
                        lambda x, t, c, s, tau, w, v: v(x, 1 - t[:, 0, 0], c, sigma=s, tau=tau, weights=w)
                    ),
                    "centres weigh the same": wrong(
                        lambda x, t, c, s, tau, w, v: v(x, t[:, 0, 0], c, sigma=s, tau=tau)
                    ),
                    "to the mean of the centres": wrong(
                        lambda x, t, c, s, tau, w, v: (
                            -(1 - t)
                            * s**2
                            / (tau**2 + (1 - t) ** 2 * s**2)
                            * (x - np.mean(c, axis=1, keepdims=True))
                        )
                    ),
                },
                WELL,
                many_shapes=True,
            ),
            Check(
                "moments of the mixture",
                sample_has_moments,
                oracles.sample_mixture,
                {
                    "without τ": lambda c, *, tau, **options: oracles.sample_mixture(c, tau=0.0, **options),
                    "τ² for τ": lambda c, *, tau, **options: oracles.sample_mixture(c, tau=tau**2, **options),
                    "centres weigh the same": lambda c, **options: oracles.sample_mixture(
                        c, **(options | {"weights": None})
                    ),
                },
                STANDARD_ERRORS,
                dimensions=SMALL,
                size=1,
                repeats=1,
            ),
        ),
    )


def velocity_is_score(velocity, draw):
    """``(1 - t) σ²`` times it."""
    x, t, centres, weights = problem(draw)
    found = draw.call(velocity, x, t, centres, sigma=SIGMA, tau=TAU, weights=weights)
    truth = np.stack(
        [
            (1 - t[i]) * SIGMA**2 * score(x[i], t[i], centres[i], weights[i] / weights[i].sum())
            for i in range(draw.size)
        ]
    )
    return relative(found, truth, float(np.max(np.abs(truth))))


def sample_has_moments(sample, draw):
    """First and second moments of each coordinate of 4000 points, in standard errors."""
    centres, weights = draw.normal(4, draw.d), np.asarray([0.5, 0.25, 0.125, 0.125])
    rng = np.random.default_rng(draw.rng.integers(2**32))
    options = {"rng": rng, "size": 4000, "tau": 0.5, "weights": weights}
    points = draw.call(sample, centres, **options)
    worst = 0.0
    for moment, truth in (
        (points, weights @ centres),
        (points**2, weights @ (centres**2 + 0.25)),
    ):
        error = np.std(moment, axis=0) / np.sqrt(len(points))
        worst = worst_of(worst, float(np.max(np.abs(np.mean(moment, axis=0) - truth) / error)))
    return worst


def fm_13() -> Item:
    """Gaussian case."""
    velocity, carry = oracles.gaussian_denoising_velocity, oracles.gaussian_denoising_map
    return Item(
        id="META-FM-13",
        paper=PAPER,
        place="specification, closed-form oracle",
        title="velocity and flow between Gaussians",
        latex=r"v^\star=-(1-t)\sigma^2(\Sigma+(1-t)^2\sigma^2I)^{-1}(x-m),\quad "
        r"x-m\mapsto\Sigma^{1/2}(\Sigma+\sigma^2I)^{-1/2}(x-m)",
        statement="The flow of the mean velocity carries the noisy Gaussian to the Gaussian.",
        functions=(velocity, carry),
        checks=(
            Check(
                "numpy.linalg.solve",
                velocity_is_solved,
                velocity,
                {
                    "without 1 - t": lambda x, t, mu, *, sigma: (
                        velocity(x, t, mu, sigma=sigma) / (1 - t[:, None, None])
                    ),
                    "σ for σ²": lambda x, t, mu, *, sigma: velocity(x, t, mu, sigma=sigma) / sigma,
                    "the covariance alone": lambda x, t, mu, *, sigma: velocity(
                        x, t, Gaussian(mu.mean, unblurred(mu.cov, (1 - t) * sigma)), sigma=sigma
                    ),
                    "from the origin": lambda x, t, mu, *, sigma: velocity(
                        x, t, Gaussian(0.0 * mu.mean, mu.cov), sigma=sigma
                    ),
                },
                roundings(2000, "condition number 30"),
            ),
            Check(
                "SciPy's integrator (DOP853) along the plain velocity",
                map_is_the_flow,
                carry,
                {
                    "to the end": lambda x, mu, *, sigma, t: carry(x, mu, sigma=sigma),
                    "without the root": lambda x, mu, *, sigma, t: (
                        mu.mean[:, None]
                        + _twice(lambda z: carry(z, Gaussian(0.0 * mu.mean, mu.cov), sigma=sigma, t=t))(
                            x - mu.mean[:, None]
                        )
                    ),
                    "σ² for σ": lambda x, mu, *, sigma, t: carry(x, mu, sigma=sigma**2, t=t),
                },
                Tolerance(1e-8, 2e-4, "the integrator's 1e-11; float32: 2000 roundings"),
                dimensions=SMALL,
            ),
        ),
    )


def unblurred(cov, widths):
    """Covariances (n, d, d) less ``width² I``."""
    return cov - (widths**2)[:, None, None] * np.eye(cov.shape[-1])


def _twice(function):
    return lambda x: function(function(x))


def plain_gaussian_velocity(x, t, mean, cov, sigma):
    """Of one Gaussian, rows x (n, d)."""
    blurred = cov + (1 - t) ** 2 * sigma**2 * np.eye(len(mean))
    return -(1 - t) * sigma**2 * np.linalg.solve(blurred, (x - mean).T).T


def velocity_is_solved(velocity, draw):
    """One member at a time."""
    mu, x, t = draw.gaussians(), draw.normal(draw.size, 4, draw.d), draw.times()
    found = draw.call(velocity, x, t, mu, sigma=SIGMA)
    truth = np.stack(
        [plain_gaussian_velocity(x[i], t[i], mu.mean[i], mu.cov[i], SIGMA) for i in range(draw.size)]
    )
    return relative(found, truth, float(np.max(np.abs(truth))))


def map_is_the_flow(carry, draw):
    """Up to time 1/2."""
    from scipy.integrate import solve_ivp

    mu, x = draw.gaussians(), draw.normal(draw.size, 2, draw.d)
    found, worst = draw.call(carry, x, mu, sigma=SIGMA, t=0.5), 0.0
    for i in range(draw.size):
        given = mu.mean[i], mu.cov[i], SIGMA
        solved = solve_ivp(
            lambda t, z, given=given: plain_gaussian_velocity(z.reshape(2, -1), t, *given).ravel(),
            *((0.0, 0.5), x[i].ravel(), "DOP853"),
            rtol=1e-11,
            atol=1e-11,
        )
        truth = solved.y[:, -1].reshape(2, -1)
        worst = worst_of(worst, relative(found[i], truth, float(np.max(np.abs(truth)))))
    return worst


def fm_15() -> Item:
    """Floor of the loss."""
    variance = oracles.denoising_variance
    return Item(
        id="META-FM-15",
        paper=PAPER,
        place="specification, checks",
        title="floor of the loss",
        latex=r"\mathbb E\|v-u\|^2=\mathbb E\|v-v^\star\|^2+\mathbb E\,\mathrm{tr\,Var}(u\mid x_t)",
        statement="No field has a smaller loss than the mean variance of the velocities that meet.",
        functions=(variance,),
        checks=(
            Check(
                "Laplacian of the log density",
                variance_is_laplacian,
                variance,
                {
                    "of one coordinate": lambda x, t, c, **options: (
                        variance(x, t, c, **options) / (x.shape[-1] + 0.5)
                    ),
                    "σ for σ²": lambda x, t, c, **options: variance(x, t, c, **options) / SIGMA,
                    "of one centre": lambda x, t, c, **options: variance(
                        x, t, np.mean(c, axis=1, keepdims=True), sigma=SIGMA, tau=TAU
                    ),
                    "without τ": lambda x, t, c, **options: variance(x, t, c, **(options | {"tau": 0.0})),
                    "at the other time": lambda x, t, c, **options: variance(x, 1 - t, c, **options),
                },
                differences(2000),
                dimensions=SMALL,
            ),
            Check(
                "decomposition of the loss (4000 particles)",
                loss_is_decomposed,
                variance,
                {
                    "half": lambda *given, **options: 0.5 * variance(*given, **options),
                    "all the noise": lambda x, *given, **options: (
                        variance(x, *given, **options) * 0.0 + x.shape[-1] * SIGMA**2
                    ),
                },
                STANDARD_ERRORS,
                dimensions=(2,),
                size=1,
                repeats=1,
            ),
        ),
    )


def variance_is_laplacian(variance, draw):
    """``σ² (d + (1 - t)² σ² Δ log p_t)``, by fourth-order differences of the score."""
    x, t, centres, weights = problem(draw)
    found, h = draw.call(variance, x, t, centres, sigma=SIGMA, tau=TAU, weights=weights), 1e-3
    worst = 0.0
    for i in range(draw.size):
        given = t[i], centres[i], weights[i] / weights[i].sum()
        laplacian = np.zeros(len(x[i]))
        for k, e in enumerate(np.eye(draw.d)):
            at = {shift: score(x[i] + shift * h * e, *given)[:, k] for shift in (-2, -1, 1, 2)}
            laplacian += (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)
        truth = SIGMA**2 * (draw.d + (1 - t[i]) ** 2 * SIGMA**2 * laplacian)
        worst = worst_of(worst, relative(found[i], truth, float(np.max(np.abs(truth)))))
    return worst


def loss_is_decomposed(variance, draw):
    """Of a field that is not the best one, in standard errors of the difference of both sides."""
    n, rng = 4000, np.random.default_rng(draw.rng.integers(2**32))
    centres = draw.normal(3, draw.d)
    goal = centres[rng.integers(0, 3, n)] + TAU * rng.standard_normal((n, draw.d))
    eps = rng.standard_normal((n, draw.d))
    x = draw.rounded(goal + 0.5 * SIGMA * eps)
    best = 0.5 * SIGMA**2 * score(x, 0.5, centres, np.full(3, 1 / 3))
    other = best + 0.3 * np.sin(x)
    floor = draw.call(variance, x, 0.5, centres, sigma=SIGMA, tau=TAU)
    gap = np.sum((other + SIGMA * eps) ** 2, -1) - np.sum((other - best) ** 2, -1) - floor
    return abs(gap.mean()) / (gap.std() / np.sqrt(n))
