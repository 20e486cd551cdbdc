"""Audited formulas of semidiscrete outer plans: ours for measures; for points: Mousavi-Hosseini et al."""

from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp, ndtri, softmax
from scipy.stats import binom

from refwfm.couplings.members import gaussian_costs, lift, lifted_costs, vectors_of
from refwfm.measures import Gaussian, PointCloud
from refwfm.transport.semidiscrete import (
    assign,
    fit_semidiscrete,
    semidiscrete_gradient,
    semidiscrete_value,
    semidiscrete_value_and_gradient,
)
from refwfm.transport.shares import chance_error, marginal_error
from refwfm.validation.check import EXACT, Check, Item, Tolerance, roundings
from refwfm.validation.textbook import relative

FITTED = Tolerance(0.06, 0.06, "stochastic ascent, some hundred draws for each member")
OURS = "ours, for measures; SEMI for points"


def items() -> list[Item]:
    """Return the items of this section."""
    return [semi_1(), semi_2(), semi_3(), semi_4()]


def _instance(draw, n=5):
    """Weights, costs and shares of a batch with n members."""
    return 0.5 * draw.normal(n), draw.rounded(draw.rng.random((draw.d + 3, n)) ** 2), draw.weights(n)


def semi_1() -> Item:
    """Dual objective and assignment."""
    return Item(
        id="SEMI-1",
        paper="Semidiscrete",
        place=OURS,
        title="semidiscrete outer plan: dual objective and assignment",
        latex=r"D(g)=\mathbb E_{\mu\sim p_0}\min_j\big(c(\mu,\nu_j)-g_j\big)+\textstyle\sum_jb_jg_j,\quad "
        r"j(\mu)=\mathop{\mathrm{argmin}}_jc(\mu,\nu_j)-g_j",
        statement="Targets are not drawn: each source goes to the member that the dual weights say.",
        functions=(assign, semidiscrete_value, semidiscrete_value_and_gradient),
        checks=(
            Check(
                "search over all members, one source after the other",
                assigned_to_the_least,
                assign,
                {
                    "weights added": lambda g, cost: assign(-g, cost),
                    "without weights": lambda g, cost: np.argmin(cost, axis=-1),
                    "the dearest": lambda g, cost: np.argmax(cost - g, axis=-1),
                },
                EXACT,
                dimensions=(3, 16),
            ),
            Check(
                "minimum, and SciPy's logsumexp",
                values_are_means,
                semidiscrete_value,
                {
                    "without the members' term": lambda g, cost, b, eps: (
                        semidiscrete_value(g, cost, b, eps=eps) - np.sum(b * g)
                    ),
                    "members' term unweighted": lambda g, cost, b, eps: (
                        semidiscrete_value(g, cost, b, eps=eps) + np.mean(g) - np.sum(b * g)
                    ),
                    "the sum over sources": lambda g, cost, b, eps: (
                        len(cost) * semidiscrete_value(g, cost, b, eps=eps)
                    ),
                    "equal shares in the soft minimum": lambda g, cost, b, eps: semidiscrete_value(
                        g, cost, np.full(len(g), 1 / len(g)), eps=eps
                    ),
                },
                roundings(200, "logarithms of sums of numbers down to exp(-1 / eps)"),
                dimensions=(3, 16),
            ),
        ),
    )


def assigned_to_the_least(function, draw):
    """Sources that go elsewhere."""
    g, cost, _ = _instance(draw)
    right = [min(range(len(g)), key=lambda j, row=row: row[j] - g[j]) for row in cost]
    return np.count_nonzero(np.asarray(draw.call(function, g, cost)) != right)


def values_are_means(function, draw):
    """Against the sums of the definition, hard and soft."""
    g, cost, b = _instance(draw)
    right = [np.mean(np.min(cost - g, axis=1)) + b @ g]
    right += [np.mean(-eps * logsumexp((g - cost) / eps, b=b, axis=1)) + b @ g for eps in (0.05, 2.0)]
    found = [float(draw.call(partial(function, eps=eps), g, cost, b)) for eps in (0.0, 0.05, 2.0)]
    return np.max(np.abs(np.subtract(found, right)))


def semi_2() -> Item:
    """Slope of the dual, and its maximum."""
    return Item(
        id="SEMI-2",
        paper="Semidiscrete",
        place=OURS,
        title="semidiscrete outer plan: gradient and fitted weights",
        latex=r"\partial_jD(g)=b_j-P\big(j(\mu)=j\big)",
        statement="At the maximum each member gets its share of the sources.",
        functions=(semidiscrete_gradient, semidiscrete_value_and_gradient, fit_semidiscrete),
        checks=(
            Check(
                "counts, and SciPy's softmax",
                gradients_are_missing_shares,
                semidiscrete_gradient,
                {
                    "the sign": lambda g, cost, b, eps: -semidiscrete_gradient(g, cost, b, eps=eps),
                    "summed over sources": lambda g, cost, b, eps: (
                        b - len(cost) * (b - semidiscrete_gradient(g, cost, b, eps=eps))
                    ),
                    "softmax without shares": lambda g, cost, b, eps: (
                        b - 1 / len(g) + semidiscrete_gradient(g, cost, np.full(len(g), 1 / len(g)), eps=eps)
                    ),
                    "twice the temperature": lambda g, cost, b, eps: semidiscrete_gradient(
                        g, cost, b, eps=2 * eps
                    ),
                },
                roundings(200, "exponentials of numbers of some tens"),
                dimensions=(3, 16),
            ),
            Check(
                "closed form for two members: a normal quantile",
                border_is_a_quantile,
                _fitted,
                {
                    "the sign": lambda *given: -_fitted(*given),
                    "shares interchanged": lambda cost, b, rng: _fitted(cost, b[::-1], rng),
                    "nearest member": lambda cost, b, rng: 0.0 * b,
                    "of the distance": lambda cost, b, rng: _fitted(lambda rng: cost(rng) ** 0.5, b, rng),
                },
                FITTED,
                dimensions=(2,),
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "closed form on the line: borders at quantiles, in order",
                borders_on_the_line,
                _fitted,
                {
                    "the sign": lambda *given: -_fitted(*given),
                    "nearest member": lambda cost, b, rng: 0.0 * b,
                    "twice": lambda *given: 2.0 * _fitted(*given),
                },
                FITTED,
                dimensions=(1,),
                repeats=1,
                many_shapes=True,
            ),
            Check(
                "SciPy's assignment of 1500 fresh sources, duality",
                as_cheap_as_an_assignment,
                _fitted,
                {
                    "nearest member": lambda cost, b, rng: 0.0 * b,
                    "half": lambda *given: 0.5 * _fitted(*given),
                },
                Tolerance(0.5, 0.5, "half a standard error of the mean cost; both are of the same draws"),
                dimensions=(3,),
                repeats=1,
                everywhere=False,
            ),
        ),
    )


def _fitted(cost, b, rng):
    return fit_semidiscrete(cost, b, rng=rng, tol=0.02, max_iter=4000, require=False).g


def gradients_are_missing_shares(function, draw):
    """Against frequencies, hard and soft."""
    g, cost, b = _instance(draw)
    hard = np.bincount(np.argmin(cost - g, axis=1), minlength=len(g)) / len(cost)
    right = [b - hard]
    right += [b - softmax((g - cost) / eps + np.log(b), axis=1).mean(axis=0) for eps in (0.05, 2.0)]
    found = [draw.call(partial(function, eps=eps), g, cost, b) for eps in (0.0, 0.05, 2.0)]
    return np.max(np.abs(np.subtract(found, right)))


def _weights_of(function, draw, sources, members, b):
    """Fitted weights for squared distances of drawn vectors, of mean 0 under b."""
    y = draw.to_backend(members)

    def cost(rng):
        x = draw.to_backend(draw.rounded(sources(rng)))
        return ((x[:, None, :] - y) ** 2).sum(-1) if isinstance(x, np.ndarray) else _costs(x, y)

    g = np.asarray(draw.to_host(function(cost, draw.to_backend(b), draw.rng)), dtype=np.float64)
    return g - b @ g


def _costs(x, y):
    return lifted_costs(x, lift(y))(0, y.shape[0])


def border_is_a_quantile(function, draw):
    """``g_2 - g_1 = ‖y_2‖² - ‖y_1‖² - 2 ‖y_2 - y_1‖ Φ⁻¹(b_1)`` for standard normal sources, in such units."""
    y, b = draw.normal(2, draw.d), draw.rounded(np.array([0.3, 0.7]))
    g = _weights_of(function, draw, lambda rng: rng.standard_normal((256, draw.d)), y, b)
    apart = np.linalg.norm(y[1] - y[0])
    right = np.sum(y[1] ** 2) - np.sum(y[0] ** 2) - 2.0 * apart * ndtri(b[0])
    return abs(g[1] - g[0] - right) / (2.0 * apart)


def borders_on_the_line(function, draw):
    """Members take intervals in order; the border of two is where their shifted costs agree."""
    y = draw.rounded(np.array([-0.5, 0.7, 1.0, 2.5])[:, None])
    b = draw.rounded(np.array([0.1, 0.3, 0.4, 0.2]))
    g = _weights_of(function, draw, lambda rng: rng.random((256, 1)), y, b)
    gaps = np.diff(y[:, 0])
    borders = (np.diff(y[:, 0] ** 2) - np.diff(g)) / (2.0 * gaps)
    return np.max(np.abs(borders - np.cumsum(b)[:-1]))


def as_cheap_as_an_assignment(function, draw):
    """Dual value on fresh sources, where the weights' shares miss nothing, against the best assignment.

    The assignment of n fresh sources to members, each n / N times, costs what the dual says of the same
    sources, and no less. In standard errors of a mean of n costs.
    """
    n, members, b = 1500, draw.normal(10, draw.d), np.full(10, 0.1)
    g = _weights_of(function, draw, lambda rng: rng.standard_normal((256, draw.d)), members, b)
    x = np.random.default_rng(draw.d).standard_normal((n, draw.d))
    cost = np.sum((x[:, None] - members) ** 2, axis=-1)
    row, column = linear_sum_assignment(np.repeat(cost, n // 10, axis=1))
    best = np.repeat(cost, n // 10, axis=1)[row, column]
    dual = np.mean(np.min(cost - g, axis=1)) + b @ g
    return abs(np.mean(best) - dual) / (np.std(best) / np.sqrt(n))


def semi_3() -> Item:
    """Evidence for shares."""
    return Item(
        id="SEMI-3",
        paper="Semidiscrete",
        place="ours",
        title="total variation of members' shares, and what of it is chance",
        latex=r"\tfrac12\sum_j\Big|\frac{n_j}n-b_j\Big|,\qquad\mathbb E\,|X-nb|=2k\tbinom nkb^k(1-b)^{n-k+1}",
        statement="The assumption that members are equally frequent, tested on fresh draws.",
        functions=(marginal_error, chance_error),
        checks=(
            Check(
                "the definition",
                errors_are_total_variations,
                marginal_error,
                {
                    "L1": lambda index, b: 2 * marginal_error(index, b),
                    "against equal shares": lambda index, b: marginal_error(
                        index, np.full(len(b), 1 / len(b))
                    ),
                    "only members that came": lambda index, b: (
                        marginal_error(index, b) - 0.5 * sum(b[j] for j in range(len(b)) if j not in index)
                    ),
                },
                roundings(20, "a sum"),
                dimensions=(3,),
            ),
            Check(
                "binomial laws, summed",
                chance_is_a_mean_deviation,
                chance_error,
                {
                    "normal limit": lambda b, n: float(np.sum(np.sqrt(b * (1 - b) / (2 * np.pi * n)))),
                    "L1": lambda b, n: 2 * chance_error(b, n),
                    "of one draw more": lambda b, n: chance_error(b, n + 1),
                },
                roundings(1e4, "logarithms of factorials"),
                dimensions=(3, 6),
            ),
        ),
    )


def errors_are_total_variations(function, draw):
    """Of counts of seven draws, of which the last member gets none."""
    b, index = draw.weights(draw.d + 2), draw.rng.integers(draw.d + 1, size=7)
    right = 0.5 * sum(abs(np.mean(index == j) - b[j]) for j in range(len(b)))
    b_there = draw.to_backend(b)
    return abs(function(index, b_there) - right)


def chance_is_a_mean_deviation(function, draw):
    """Relative to the sum over all outcomes."""
    b, n = draw.weights(draw.d), 9
    x = np.arange(n + 1)
    right = 0.5 * sum(binom.pmf(x, n, share) @ np.abs(x / n - share) for share in b)
    return abs(function(draw.to_backend(b), n) - right) / right


def semi_4() -> Item:
    """Costs with all members."""
    return Item(
        id="SEMI-4",
        paper="Semidiscrete",
        place="ours; with GWFM-33, GWFM-34, GWFM-41, WFM-24",
        title="costs of sources with all members, block by block",
        latex=r"\|u-v\|^2=\langle(-2u,1,\|u\|^2),(v,\|v\|^2,1)\rangle",
        statement="One matrix product; right to rounding of the squared norms about the members' median.",
        functions=(lift, lifted_costs, gaussian_costs, vectors_of),
        checks=(
            Check(
                "differences of vectors",
                products_are_distances,
                lambda u, v: lifted_costs(u, lift(v))(1, 4),
                {
                    "half": lambda u, v: 0.5 * lifted_costs(u, lift(v))(1, 4),
                    "members from the first": lambda u, v: lifted_costs(u, lift(v))(0, 3),
                    "without the sources' norms": lambda u, v: (
                        lifted_costs(u, lift(v))(1, 4)
                        - np.sum((u - np.sort(v, axis=0)[2]) ** 2, axis=1)[:, None]
                    ),
                },
                roundings(100, "squared norms, some times the distances"),
                dimensions=(2, 6),
            ),
            Check(
                "sorted projections, and vectors of points",
                vectors_have_the_distances,
                vectors_of,
                {
                    "not divided by the points": lambda points, weights, *theta: (
                        2.0 * vectors_of(PointCloud(points, weights), *theta)
                    ),
                    "not sorted": lambda points, weights, *theta: (
                        vectors_of(PointCloud(points @ theta[0].T, weights)) / len(theta[0]) ** 0.5
                        if theta
                        else vectors_of(PointCloud(points, weights))
                    ),
                },
                roundings(100, "sums of squares"),
                dimensions=(2, 3),
            ),
            Check(
                "commuting covariances, closed form",
                gaussians_have_the_distances,
                lambda mu, nu: gaussian_costs(mu, nu)(1, 3),
                {
                    "members from the first": lambda mu, nu: gaussian_costs(mu, nu)(0, 2),
                    "means only": lambda mu, nu: np.sum((mu.mean[:, None] - nu.mean[1:3]) ** 2, axis=-1),
                },
                roundings(1000, "roots of spectra"),
                dimensions=(2, 6),
            ),
        ),
    )


def products_are_distances(function, draw):
    """To the members from the second to the fourth of five."""
    u, v = draw.normal(3, draw.d), draw.normal(5, draw.d)
    return relative(draw.call(function, u, v), np.sum((u[:, None] - v[1:4]) ** 2, axis=-1))


def vectors_have_the_distances(function, draw):
    """Of two clouds: mean squares of differences of points in order, and of sorted projections."""
    x, theta = draw.normal(2, 4, draw.d), draw.normal(3, draw.d)
    weights = np.full((2, 4), 0.25)
    if function is vectors_of:
        function = lambda points, weights, *more: vectors_of(PointCloud(points, weights), *more)  # noqa: E731
    plain, lined = draw.call(function, x, weights), draw.call(function, x, weights, theta)
    sums = [np.sum((vectors[0] - vectors[1]) ** 2) for vectors in (plain, lined)]
    lines = np.sort(x @ theta.T, axis=1)
    right = [np.sum((x[0] - x[1]) ** 2) / 4, np.mean((lines[0] - lines[1]) ** 2)]
    return relative(np.array(sums), np.array(right))


def gaussians_have_the_distances(function, draw):
    """Of diagonal covariances."""
    deviations = [draw.rounded(0.5 + draw.rng.random((n, draw.d))) for n in (2, 4)]
    means = [draw.normal(n, draw.d) for n in (2, 4)]
    mu, nu = (
        Gaussian(m, draw.rounded(s[..., None] ** 2 * np.eye(draw.d)))
        for m, s in zip(means, deviations, strict=True)
    )
    right = np.sum((means[0][:, None] - means[1][1:3]) ** 2, axis=-1)
    right += np.sum((deviations[0][:, None] - deviations[1][1:3]) ** 2, axis=-1)
    return relative(draw.call(function, mu, nu), right)
