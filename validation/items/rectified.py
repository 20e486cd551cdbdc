"""Audited construction of ours: pairs that a flow makes, and a training step on them."""

import numpy as np
import scipy.linalg

from refwfm._array import array_namespace, transpose
from refwfm.bures import Tangent
from refwfm.couplings.rectified import RectifiedPairs, rectified_pairs
from refwfm.measures import PointCloud
from refwfm.training import cloud_generation, clouds, gaussians
from refwfm.training.randomness import random_stream
from refwfm.training.rectified import drawn_pairs
from refwfm.validation import cloud_runs, gaussian_runs, textbook
from refwfm.validation.check import EXACT, WELL, Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.textbook import relative

STEPS = 20
ORDER = Tolerance(2e-4, 4e-4, "twenty steps of order four")
SIZES = np.asarray([5, 2, 4, 5, 3, 1])


def items() -> list[Item]:
    """Return the item of this section."""
    return [pairs_of_a_flow()]


def pairs_of_a_flow() -> Item:
    """Sources and where a flow takes them, as a coupling to learn from."""
    wrong = {
        "one Euler step": lambda field, mu, **o: rectified_pairs(field, mu, n_steps=1, method="euler"),
        "the way back": _backwards,
        "sources and targets exchanged": lambda *args, **o: RectifiedPairs(
            *rectified_pairs(*args, **o)[1::-1]
        ),
        "ends of other sources": _of_others,
        "half of the way": _half,
    }
    return Item(
        id="WFM-REFLOW",
        paper="WFM",
        place="ours, not the paper's; Liu et al. 2023, of points",
        title="pairs that a flow makes",
        latex=r"(\mu,\nu)=(\mu_0,\mu_1),\quad\frac{d}{dt}\mu_t=v_\theta(\mu_t,t),\ \mu_0\sim\mathfrak p_0",
        statement="A flow learned from its own pairs keeps its ends, costs no more, and bends less.",
        functions=(
            rectified_pairs,
            drawn_pairs,
            cloud_generation.pairs,
            gaussians.pairs,
            clouds.draw_batch,
            gaussians.draw_batch,
        ),
        checks=(
            Check(
                "points in a linear field, by SciPy's exponential",
                ends_are_exponentials,
                rectified_pairs,
                wrong,
                ORDER,
                dimensions=(1, 2, 3),
            ),
            Check(
                "the mean velocity of independent normal pairs: its ends are the optimal map's",
                ends_are_optimal,
                rectified_pairs,
                {**wrong, "time stands still": _at_one_time},
                ORDER,
                dimensions=(1, 2, 3),
            ),
            Check(
                "Gaussians with constant lifts, by SciPy's exponential",
                gaussians_are_exponentials,
                rectified_pairs,
                wrong,
                ORDER,
                dimensions=(1, 2, 3),
            ),
            Check(
                "each target is the double of its source, and so is its label; the largest fills its row",
                pairs_stay_together,
                drawn_pairs,
                {
                    "drawn apart": _drawn_apart,
                    "with all padding": _uncut,
                    "labels of others": lambda pairs, size, *, rng: drawn_pairs(
                        pairs, size, rng=rng
                    )._replace(shown=pairs.shown[:size]),
                },
                EXACT,
                dimensions=(1, 2),
                everywhere=False,
            ),
            Check(
                "a step on pairs of clouds by hand",
                step_of_clouds,
                clouds.draw_batch,
                {
                    "times turned over": _changed(clouds, lambda b: b._replace(t=1.0 - b.t)),
                    "the way back": _changed(clouds, lambda b: b._replace(target=-b.target)),
                    "all points weigh the same": _changed(
                        clouds, lambda b: b._replace(weights=0.0 * b.weights + 1.0 / b.weights.shape[1])
                    ),
                    "where they start": _changed(
                        clouds, lambda b: b._replace(points=b.points - b.t[:, None, None] * b.target)
                    ),
                },
                roundings(300, "points between two"),
                dimensions=(1, 2),
            ),
            Check(
                "a step on pairs of Gaussians, the textbook's geodesic",
                step_of_gaussians,
                gaussians.draw_batch,
                {
                    "times turned over": _changed(gaussians, lambda b: b._replace(t=1.0 - b.t)),
                    "the way back": _changed(
                        gaussians, lambda b: b._replace(target=textbook.scaled(-1.0, b.target))
                    ),
                    "independent of the pairs": lambda config, setting, pairs, *rest: gaussians.draw_batch(
                        config,
                        setting,
                        pairs._replace(target=textbook.take(pairs.target, np.arange(5)[::-1])),
                        *rest,
                    ),
                },
                roundings(500, WELL),
                dimensions=(1, 2, 3),
            ),
        ),
    )


def _changed(flow, change):
    return lambda *args: change(flow.draw_batch(*args))


def _backwards(field, mu, **options):
    def back(nu, t):
        v = field(nu, 1.0 - t)
        return textbook.scaled(-1.0, v) if isinstance(v, Tangent) else -v

    return rectified_pairs(back, mu, **options)


def _of_others(field, mu, **options):
    source, target, _ = rectified_pairs(field, mu, **options)
    return RectifiedPairs(source, type(target)(*(part[::-1] for part in target)))


def _half(field, mu, **options):
    def slow(nu, t):
        v = field(nu, 0.5 * t)
        return textbook.scaled(0.5, v) if isinstance(v, Tangent) else 0.5 * v

    return rectified_pairs(slow, mu, **options)


def _at_one_time(field, mu, **options):
    return rectified_pairs(lambda nu, t: field(nu, 0.0 * t), mu, **options)


def _drawn_apart(pairs, size, *, rng):
    found = drawn_pairs(pairs, size, rng=rng)
    return found._replace(target=drawn_pairs(pairs, size, rng=rng).target)


def _uncut(pairs, size, *, rng):
    index = rng.integers(len(pairs.shown), size=size)
    source, target = (PointCloud(*(part[index] for part in each)) for each in pairs[:2])
    return RectifiedPairs(source, target, pairs.shown[index])


def _error(pairs, source, target):
    """Largest error of sources and targets, whichever measures they are."""
    parts = zip((*pairs.source, *pairs.target), (*source, *target), strict=True)
    return worst_of(*(relative(found, truth, 1.0 + np.max(np.abs(truth))) for found, truth in parts))


def ends_are_exponentials(pairs, draw):
    """Points x end at exp(A) x."""
    x, A = draw.normal(3, 4, draw.d), draw.rounded(0.6 * draw.normal(draw.d, draw.d))
    weights = np.full((3, 4), 0.25)
    found = draw.call(
        lambda x, weights, A: pairs(
            lambda cloud, t: cloud.points @ transpose(A), PointCloud(x, weights), n_steps=STEPS, method="rk4"
        ),
        *(x, weights, A),
    )
    return _error(found, (x, weights), (x @ scipy.linalg.expm(A).T, weights))


def ends_are_optimal(pairs, draw):
    """Flow of ``E[X_1 - X_0 | X_t]`` for N(0, 1) and N(m, s²): x ends at m + s x, as by transport."""
    x, mean = draw.normal(3, 4, draw.d), draw.normal(draw.d)
    std, weights = draw.rounded(draw.rng.uniform(0.4, 2.0, draw.d)), np.full((3, 4), 0.25)

    def flow(x, weights, mean, std):
        def field(cloud, t):
            t = t[:, None, None]
            slope = (t * std**2 - (1.0 - t)) / ((1.0 - t) ** 2 + t**2 * std**2)
            return mean + slope * (cloud.points - t * mean)

        return pairs(field, PointCloud(x, weights), n_steps=STEPS, method="rk4")

    found = draw.call(flow, x, weights, mean, std)
    return _error(found, (x, weights), (mean + std * x, weights))


def gaussians_are_exponentials(pairs, draw):
    """N(m, S) moves with velocity a + L (x - m) to N(m + a, exp(L) S exp(L))."""
    mu, a = draw.gaussians(size=4), draw.normal(draw.d)
    lift = draw.normal(draw.d, draw.d)
    lift = draw.rounded(0.3 * (lift + lift.T))

    def flow(mu, a, lift):
        def field(nu, t):
            xp = array_namespace(a)
            return Tangent(xp.broadcast_to(a, nu.mean.shape), xp.broadcast_to(lift, nu.cov.shape))

        return pairs(field, mu, n_steps=STEPS, method="rk4")

    push = scipy.linalg.expm(lift)
    return _error(draw.call(flow, mu, a, lift), mu, (mu.mean + a, push @ mu.cov @ push))


def _padded_pairs(draw, width=7):
    """Pairs of clouds of several sizes, padded beyond the largest; targets are the sources' doubles."""
    weights = (np.arange(width) < SIZES[:, None]) / SIZES[:, None]
    x = np.where(weights[..., None] > 0, draw.rng.uniform(1.0, 2.0, (*weights.shape, draw.d)), 0.0)
    labels = np.round(1e6 * x[:, 0, 0]).astype(np.int64)
    return RectifiedPairs(PointCloud(x, weights), PointCloud(2.0 * x, weights), labels)


def pairs_stay_together(drawn, draw):
    """0 where all that is drawn belongs together, and no column is empty; 1 elsewhere."""
    pairs = _padded_pairs(draw)
    source, target, shown = drawn(pairs, 5, rng=np.random.default_rng(draw.rng.integers(1000)))
    together = (
        np.array_equal(target.points, 2.0 * source.points)
        and np.array_equal(target.weights, source.weights)
        and np.array_equal(shown, np.round(1e6 * source.points[:, 0, 0]))
        and all(
            any(np.array_equal(row[:1], each[:1]) for each in pairs.source.points) for row in source.points
        )
        and np.all(np.any(source.weights > 0, axis=0))
        and np.allclose(np.sum(source.weights, axis=1), 1.0)
    )
    return 0.0 if together else 1.0


def step_of_clouds(draw_batch, draw):
    """Times, points, velocities and weights of pairs drawn again from the step's own stream."""
    pairs, source, k = _padded_pairs(draw), cloud_runs.random_source(draw), int(draw.rng.integers(100))
    config = cloud_runs.CONFIG
    batch = draw.call(
        lambda source: draw_batch(config, cloud_runs.plain_setting(source), pairs, None, k), source
    )
    rng = random_stream(config.seed, "batch", k)
    index = rng.integers(len(SIZES), size=config.batch)
    starts = [pairs.source.points[i, : SIZES[i]] for i in index]
    images = [pairs.target.points[i, : SIZES[i]] for i in index]
    return cloud_runs.error_of_batch(batch, starts, images, rng.random(config.batch))


def step_of_gaussians(draw_batch, draw):
    """The same of Gaussians, between which the geodesic goes."""
    mu, nu, source = draw.gaussians(size=5), draw.gaussians(size=5), gaussian_runs.random_source(draw)
    pairs, k, config = RectifiedPairs(mu, nu), int(draw.rng.integers(100)), gaussian_runs.CONFIG
    batch = draw.call(
        lambda source: draw_batch(config, gaussian_runs.plain_setting(source, {}), pairs, None, k), source
    )
    rng = random_stream(config.seed, "batch", k)
    index, t = rng.integers(5, size=config.batch), rng.random(config.batch)
    return gaussian_runs.error_of_batch(batch, textbook.take(mu, index), textbook.take(nu, index), t)
