"""Audited formulas of Meta Flow Matching: what it converges to, how particles move and are judged."""

from itertools import permutations

import numpy as np

from refwfm.measures import Gaussian
from refwfm.metrics import populations as metrics
from refwfm.populations import flow, oracles
from refwfm.validation.check import STANDARD_ERRORS, Check, Item, Tolerance, differences, roundings
from refwfm.validation.textbook import relative

PAPER = "Meta FM"
SIGMA, TAU = 0.75, 0.25
SMALL = (1, 2, 3)
WELL = roundings(1000, "exponents up to a few hundred")


def items() -> list[Item]:
    """Return the items in the order of the specification."""
    return [fm_9(), fm_10(), fm_11(), fm_12(), fm_13(), fm_14(), fm_15()]


# Metrics


def fm_9() -> Item:
    """Wasserstein distances of samples."""
    return Item(
        id="META-FM-9",
        paper=PAPER,
        place="section 5, metrics",
        title="Wasserstein distances between samples",
        latex=r"\mathcal W_p=\Big(\min_{P}\sum_{ij}P_{ij}\|x_i-y_j\|^p\Big)^{1/p},\quad p=1,2",
        statement="Exact, between uniform samples; for p = 2 the root, in units of the data.",
        functions=(metrics.wasserstein1, metrics.wasserstein2),
        checks=(
            Check(
                "all permutations, p = 1",
                lambda function, draw: all_permutations(function, draw, 1),
                metrics.wasserstein1,
                {
                    "the root of the mean square": metrics.wasserstein2,
                    "the sum of distances": lambda x, y: x.shape[-2] * metrics.wasserstein1(x, y),
                    "rows as they are paired": lambda x, y: np.mean(np.linalg.norm(x - y, axis=-1), -1),
                },
                roundings(100, "a mean of five distances"),
                dimensions=SMALL,
            ),
            Check(
                "all permutations, p = 2",
                lambda function, draw: all_permutations(function, draw, 2),
                metrics.wasserstein2,
                {
                    "squared": lambda x, y: metrics.wasserstein2(x, y) ** 2,
                    "p = 1": metrics.wasserstein1,
                    "rows as they are paired": lambda x, y: np.sqrt(np.mean(np.sum((x - y) ** 2, -1), -1)),
                },
                roundings(100, "a mean of five squares, and a root"),
                dimensions=SMALL,
            ),
            *(
                Check(
                    f"linear programme (SciPy), unequal sizes, p = {p}",
                    lambda function, draw, p=p: linear_programme(function, draw, p),
                    function,
                    {
                        "the first points only": lambda x, y, function=function: function(
                            x[..., : y.shape[-2], :], y
                        ),
                        "to the power p + 1": lambda x, y, function=function: function(x, y) ** 2,
                    },
                    Tolerance(1e-8, 1e-5, "tolerances of the programme; float32: 100 roundings"),
                    dimensions=SMALL,
                )
                for p, function in ((1, metrics.wasserstein1), (2, metrics.wasserstein2))
            ),
        ),
    )


def all_permutations(function, draw, p):
    """Of five points, for each member of the batch."""
    x, y = draw.normal(draw.size, 5, draw.d), draw.normal(draw.size, 5, draw.d)
    costs = np.linalg.norm(x[:, :, None] - y[:, None], axis=-1) ** p
    rows = np.arange(5)
    best = np.min([np.mean(costs[:, rows, perm], axis=-1) for perm in permutations(range(5))], axis=0)
    return relative(draw.call(function, x, y), best ** (1 / p))


def linear_programme(function, draw, p):
    """From six points to four."""
    from scipy.optimize import linprog

    x, y = draw.normal(6, draw.d), draw.normal(4, draw.d)
    cost = np.linalg.norm(x[:, None] - y[None], axis=-1) ** p
    sums = [np.kron(np.eye(6), np.ones((1, 4))), np.kron(np.ones((1, 6)), np.eye(4))]
    masses = np.concatenate([np.full(6, 1 / 6), np.full(4, 1 / 4)])
    found = linprog(cost.ravel(), A_eq=np.concatenate(sums), b_eq=masses)
    return relative(draw.call(function, x[None], y[None]), np.asarray([found.fun]) ** (1 / p))


def fm_10() -> Item:
    """Squared maximum mean discrepancy."""
    mmd = metrics.sq_mmd
    return Item(
        id="META-FM-10",
        paper=PAPER,
        place="section 5, metrics",
        title="squared MMD over six kernels",
        latex=r"\tfrac16\sum_\gamma\overline{k_\gamma(x,x')}+\overline{k_\gamma(y,y')}"
        r"-2\,\overline{k_\gamma(x,y)},\quad k_\gamma=e^{-\gamma\|x-y\|^2}",
        statement="The V-statistic, with diagonals, not its root; published as MMD.",
        functions=(mmd,),
        checks=(
            Check(
                "plain NumPy, all pairs at once",
                mmd_is_plain,
                mmd,
                {
                    "the root": lambda x, y: np.sqrt(mmd(x, y)),
                    "the U-statistic": lambda x, y: plain_mmd(x, y, metrics.GAMMAS, diagonal=False),
                    "one kernel": lambda x, y: mmd(x, y, gammas=(1.0,)),
                    "widths for rates": lambda x, y: mmd(
                        x, y, gammas=[1 / (2 * g**2) for g in metrics.GAMMAS]
                    ),
                    "the sum over kernels": lambda x, y: 6.0 * mmd(x, y),
                    "cross term once": lambda x, y: mmd(x, y) + cross(x, y),
                },
                roundings(100, "a difference of means of order one"),
            ),
        ),
    )


def plain_mmd(x, y, gammas, *, diagonal=True):
    """With the kernels of points with themselves, or without."""
    total = 0.0
    for gamma in gammas:
        within = []
        for z in (x, y):
            k = np.exp(-gamma * np.sum((z[..., :, None, :] - z[..., None, :, :]) ** 2, axis=-1))
            n = k.shape[-1]
            within.append(k.mean((-2, -1)) if diagonal else (k.sum((-2, -1)) - n) / (n * (n - 1)))
        between = np.exp(-gamma * np.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, axis=-1))
        total = total + within[0] + within[1] - 2.0 * between.mean((-2, -1))
    return total / len(gammas)


def cross(x, y):
    """Mean kernel of x with y."""
    far = np.sum((x[..., :, None, :] - y[..., None, :, :]) ** 2, axis=-1)
    return np.mean([np.exp(-g * far).mean((-2, -1)) for g in metrics.GAMMAS], axis=0)


def mmd_is_plain(function, draw):
    """In units of a kernel, not of the difference."""
    x, y = draw.normal(draw.size, 7, draw.d), 1.5 * draw.normal(draw.size, 5, draw.d)
    y = draw.rounded(y)
    return relative(draw.call(function, x, y), plain_mmd(x, y, (2.0, 1.0, 0.5, 0.1, 0.01, 0.005)), 1.0)


def fm_11() -> Item:
    """Correlation of correlations."""
    function = metrics.feature_correlation
    return Item(
        id="META-FM-11",
        paper=PAPER,
        place="section 5, metrics; implementation",
        title="correlation of the features' correlations",
        latex=r"\mathrm{corr}_{i<j}\big(\mathrm{corr}(x_i,x_j),\mathrm{corr}(y_i,y_j)\big)",
        statement="Pearson's, over pairs of features; published as r², but not squared.",
        functions=(function,),
        checks=(
            Check(
                "numpy.corrcoef, with a constant feature",
                is_corrcoef,
                function,
                {
                    "squared": lambda x, y: function(x, y) ** 2,
                    "of covariances": lambda x, y: correlated(np.cov(x.T), np.cov(y.T), x, y),
                    "with the diagonal": lambda x, y: correlated(
                        np.corrcoef(x.T + noise(x)), np.corrcoef(y.T + noise(y)), x, y, k=0
                    ),
                    "constant features kept": lambda x, y: correlated(
                        np.corrcoef(x.T + noise(x)), np.corrcoef(y.T + noise(y)), x, y, drop=False
                    ),
                },
                roundings(1000, "correlations of order 0.1 about their mean"),
                dimensions=(4, 6, 16),
            ),
        ),
    )


def noise(x):
    """A little, so that no feature is constant."""
    return 1e-9 * np.random.default_rng(0).standard_normal(x.T.shape)


def correlated(first, second, x, y, *, k=1, drop=True):
    """Pearson's correlation of the entries from the k-th diagonal on, of features that vary."""
    live = np.flatnonzero((np.ptp(x, axis=0) > 0) & (np.ptp(y, axis=0) > 0))
    live = live if drop else np.arange(x.shape[1])
    above = np.triu_indices(len(live), k)
    return np.corrcoef(first[np.ix_(live, live)][above], second[np.ix_(live, live)][above])[0, 1]


def is_corrcoef(function, draw):
    """One feature is constant in the second sample."""
    mix = np.eye(draw.d) + 0.7 * draw.rng.standard_normal((draw.d, draw.d))
    x = draw.rounded(draw.normal(30, draw.d) @ mix)
    y = draw.rounded(draw.normal(20, draw.d) @ mix)
    y[:, 1] = 0.3125
    live = np.delete(np.arange(draw.d), 1)
    truth = correlated(np.corrcoef(x[:, live].T), np.corrcoef(y[:, live].T), x[:, live], y[:, live])
    return abs(float(draw.call(function, x, y)) - truth)


# Oracles


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
        latex=r"v^\star_t(x)=-\frac{(1-t)\sigma^2}{s_t^2}\Big(x-\sum_jw_jc_j\Big),\quad"
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
        worst = max(worst, float(np.max(np.abs(np.mean(moment, axis=0) - truth) / error)))
    return worst


def fm_13() -> Item:
    """Gaussian case."""
    velocity, carry = oracles.gaussian_denoising_velocity, oracles.gaussian_denoising_map
    return Item(
        id="META-FM-13",
        paper=PAPER,
        place="specification, closed-form oracle",
        title="velocity and flow between Gaussians",
        latex=r"v^\star=-(1-t)\sigma^2(\Sigma+(1-t)^2\sigma^2I)^{-1}(x-m),\quad"
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
        worst = max(worst, relative(found[i], truth, float(np.max(np.abs(truth)))))
    return worst


def fm_14() -> Item:
    """Integration of particles."""
    equal, adaptive = flow.integrate, flow.integrate_adaptively

    def heun(matrices, x, n_steps):
        return equal(lambda x, t: x @ matrices, x, n_steps=n_steps)

    def method(name, more=0):
        return lambda matrices, x, n_steps: equal(
            lambda x, t: x @ matrices, x, n_steps=n_steps + more, method=name
        )

    def adapted(matrices, x, sign=1.0):
        return adaptive(lambda x, t: sign * x @ matrices, x, rtol=1e-7, atol=1e-7).points

    return Item(
        id="META-FM-14",
        paper=PAPER,
        place="section 4, inference",
        title="particles of populations along a field",
        latex=r"\dot x=v_t(x\mid h,c),\quad t:0\to1",
        statement="Heun's method in equal steps, or Dormand and Prince's in steps by their error.",
        functions=(equal, adaptive),
        checks=(
            Check(
                "powers of I + hA + h²A²/2",
                heun_is_a_polynomial,
                heun,
                {
                    "Euler": method("euler"),
                    "order four": method("rk4"),
                    "a step more": method("heun", 1),
                },
                roundings(500, "eight steps"),
                dimensions=SMALL,
            ),
            Check(
                "matrix exponential (SciPy)",
                adapted_is_exponential,
                adapted,
                {
                    "Euler": lambda matrices, x: equal(
                        lambda x, t: x @ matrices, x, n_steps=50, method="euler"
                    ),
                    "backwards": lambda matrices, x: adapted(matrices, x, -1.0),
                    "half the way": lambda matrices, x: adapted(0.5 * matrices, x),
                },
                Tolerance(1e-5, 5e-5, "tolerances 1e-7 in each of some ten steps; float32: rounded fields"),
                dimensions=SMALL,
            ),
        ),
    )


def heun_is_a_polynomial(carry, draw):
    """Along linear fields, one for each population."""
    matrices, x, worst = draw.normal(draw.size, draw.d, draw.d), draw.normal(draw.size, 4, draw.d), 0.0
    found = draw.call(carry, matrices, x, 8)
    for i in range(draw.size):
        step = np.eye(draw.d) + matrices[i] / 8 + matrices[i] @ matrices[i] / 128
        truth = x[i] @ np.linalg.matrix_power(step, 8)
        worst = max(worst, relative(found[i], truth, float(np.max(np.abs(truth)))))
    return worst


def adapted_is_exponential(carry, draw):
    """Along linear fields, one for each population."""
    from scipy.linalg import expm

    matrices, x = draw.normal(draw.size, draw.d, draw.d), draw.normal(draw.size, 4, draw.d)
    found = draw.call(carry, matrices, x)
    truth = np.stack([x[i] @ expm(matrices[i]) for i in range(draw.size)])
    return relative(found, truth, float(np.max(np.abs(truth))))


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
        worst = max(worst, relative(found[i], truth, float(np.max(np.abs(truth)))))
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
