"""Audited formulas of Meta Flow Matching: how particles move, and how populations are judged."""

from functools import wraps
from itertools import permutations

import numpy as np

from refwfm.metrics import populations as metrics
from refwfm.populations import flow
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.textbook import relative

PAPER = "Meta FM"
SMALL = (1, 2, 3)


def items() -> list[Item]:
    """Return the items in the order of the specification."""
    return [fm_9(), fm_10(), fm_11(), fm_14()]


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
                of_power(all_permutations, 1),
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
                of_power(all_permutations, 2),
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
                    of_power(linear_programme, p),
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


def of_power(residual, p):
    """Residual that a distance of power p has."""

    @wraps(residual)
    def measured(function, draw):
        return residual(function, draw, p)

    return measured


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
                many_shapes=True,
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
        worst = worst_of(worst, relative(found[i], truth, float(np.max(np.abs(truth)))))
    return worst


def adapted_is_exponential(carry, draw):
    """Along linear fields, one for each population."""
    from scipy.linalg import expm

    matrices, x = draw.normal(draw.size, draw.d, draw.d), draw.normal(draw.size, 4, draw.d)
    found = draw.call(carry, matrices, x)
    truth = np.stack([x[i] @ expm(matrices[i]) for i in range(draw.size)])
    return relative(found, truth, float(np.max(np.abs(truth))))
