"""Audited sources of GWFM section 4.1: pure and barycentric noise, families of clouds."""

import numpy as np
import scipy.stats

from refwfm.clouds import pad, unpad
from refwfm.measures import PointCloud
from refwfm.sources.clouds import PureNoise, sample_barycentric_noise, sample_pure_noise
from refwfm.training.alignment import AlignedClouds
from refwfm.validation.check import EXACT, STANDARD_ERRORS, Check, Item, worst_of
from refwfm.validation.textbook import standard_errors

DRAWS = 10000


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [src_1(), src_2(), src_3_clouds()]


# SRC-1


def src_1() -> Item:
    """Pure noise."""
    return Item(
        id="GWFM-SRC1",
        paper="GWFM",
        place="section 4.1",
        title="pure noise",
        latex=r"x_k=m+s\,z_k,\qquad m\sim\mathcal N(0,\tau^2I),\quad s\sim U(a,b)",
        statement="Normal points with a mean and a scale of their own for each cloud. The laws of both are "
        "ours: the paper's are not known.",
        functions=(sample_pure_noise,),
        checks=(
            Check(
                "moments of one and of two points, Monte Carlo",
                moments_of_pure_noise,
                sample_pure_noise,
                {
                    "one mean for all clouds": _with(lambda law: law._replace(mean=0.0)),
                    "one scale for all clouds": _with(
                        lambda law: law._replace(low=np.sqrt(_second(law)), high=np.sqrt(_second(law)))
                    ),
                    "scales up to the variance": _with(
                        lambda law: law._replace(low=law.low**2, high=law.high**2)
                    ),
                    "points of their own means": _each_its_own,
                },
                STANDARD_ERRORS,
                dimensions=(1, 3),
                repeats=1,
            ),
        ),
    )


def _second(law):
    """``E s²``."""
    return (law.low**2 + law.low * law.high + law.high**2) / 3.0


def _with(change):
    return lambda law, **options: sample_pure_noise(change(law), **options)


def _each_its_own(law, *, rng, sizes, d, like):
    drawn = sample_pure_noise(law, rng=rng, sizes=np.ones(2 * len(sizes), dtype=int), d=d, like=like)
    points = drawn.points.reshape(len(sizes), 2, d)
    return PointCloud(points, np.full(points.shape[:2], 0.5))


def moments_of_pure_noise(sample, draw):
    """``E x = 0``, ``E x² = τ² + E s²``, ``E x₁ x₂ = τ²``, ``E (x₁ - x₂)⁴ = 12 E s⁴`` in standard errors.

    Also ``E cos x = exp(-τ² / 2) E exp(-s² / 2)``: of a law with heavy tails moments tell nothing.
    """
    law, d = PureNoise(0.7, 0.4, 1.6), draw.d
    cloud = draw.call(
        lambda like: sample(law, rng=draw.rng, sizes=np.full(DRAWS, 2), d=d, like=like), np.zeros(1)
    )
    if cloud.points.shape != (DRAWS, 2, d):
        return np.inf
    x, y = cloud.points[:, 0], cloud.points[:, 1]
    nodes, masses = np.polynomial.legendre.leggauss(20)
    scales = 0.5 * (law.low + law.high) + 0.5 * (law.high - law.low) * nodes
    wave = np.exp(-0.5 * law.mean**2) * (0.5 * masses @ np.exp(-0.5 * scales**2))
    fourth = (law.high**5 - law.low**5) / (5.0 * (law.high - law.low))
    return worst_of(
        standard_errors(x, 0.0),
        standard_errors(np.cos(x), wave),
        standard_errors(x**2, law.mean**2 + _second(law)),
        standard_errors(x * y, law.mean**2),
        standard_errors((x - y) ** 4, 12.0 * fourth),
    )


# SRC-2


def src_2() -> Item:
    """Barycentric noise."""
    return Item(
        id="GWFM-SRC2",
        paper="GWFM",
        place="section 4.1",
        title="barycentric noise",
        latex=r"X_{ij}\sim\mathcal N(S_{ij},\sigma^2)",
        statement="Independent normal noise around the points of a reference, in their order.",
        functions=(sample_barycentric_noise,),
        checks=(
            Check(
                "moments of every entry, Monte Carlo",
                moments_of_barycentric_noise,
                sample_barycentric_noise,
                {
                    "σ as a variance": _barycentric(lambda s, sigma: (s, np.sqrt(sigma))),
                    "points in another order": _barycentric(lambda s, sigma: (s[::-1], sigma)),
                    "around the mean of the reference": _barycentric(
                        lambda s, sigma: (np.broadcast_to(s.mean(axis=0), s.shape), sigma)
                    ),
                    "one noise for all points": _shared_noise,
                },
                STANDARD_ERRORS,
                dimensions=(1, 3),
                repeats=1,
            ),
            Check(
                "clouds of other sizes, counted without noise",
                all_points_are_taken_alike,
                sample_barycentric_noise,
                {
                    "points at random": _points_at_random,
                    "the first points again": _barycentric_rows(lambda n, size: np.arange(size) % n),
                    "each point as often in a row": _barycentric_rows(
                        lambda n, size: np.sort(np.arange(size) % n)
                    ),
                },
                EXACT,
                dimensions=(1, 3),
                repeats=5,
            ),
            Check(
                "SciPy's Kolmogorov-Smirnov test",
                noise_is_normal,
                sample_barycentric_noise,
                {
                    "uniform noise": _uniform_noise,
                    "half of it": _barycentric(lambda s, sigma: (s, 0.5 * sigma)),
                },
                STANDARD_ERRORS._replace(reason="the residual is a p-value, in standard deviations"),
                dimensions=(2,),
                repeats=1,
            ),
        ),
    )


def _barycentric(change):
    def sample(reference, *, rng, sizes, sigma):
        reference, sigma = change(reference, sigma)
        return sample_barycentric_noise(reference, rng=rng, sizes=sizes, sigma=sigma)

    return sample


def _shared_noise(reference, *, rng, sizes, sigma):
    drawn = sample_barycentric_noise(reference, rng=rng, sizes=sizes, sigma=sigma)
    noise = (drawn.points - reference)[:, :1]
    return PointCloud(reference + noise, drawn.weights)


def _uniform_noise(reference, *, rng, sizes, sigma):
    half = sigma * np.sqrt(3.0)
    noise = rng.uniform(-half, half, size=(len(sizes), *reference.shape))
    return PointCloud(reference + noise, np.full(noise.shape[:2], 1.0 / len(reference)))


def _points_at_random(reference, *, rng, sizes, sigma):
    return pad([reference[rng.integers(len(reference), size=size)] for size in sizes])


def _barycentric_rows(rows):
    def sample(reference, *, rng, sizes, sigma):
        return pad([reference[rows(len(reference), size)] for size in sizes])

    return sample


def all_points_are_taken_alike(sample, draw):
    """Deviation of 2, 4, 9 and 40 of 4 points from: in order while all fit, then others, chosen at random."""
    reference, sizes = draw.normal(4, draw.d), np.repeat([2, 4, 9, 40], 8)
    cloud = draw.call(lambda s: sample(s, rng=draw.rng, sizes=sizes, sigma=0.0), reference)
    last = []
    for points, size in zip(unpad(cloud), sizes, strict=True):
        rows = np.argmin(np.sum((points[:, None] - reference) ** 2, axis=-1), axis=1)
        whole = size // 4 * 4
        if len(rows) != size or not np.array_equal(reference[rows], points):
            return np.inf
        if np.any(rows[:whole] != np.arange(whole) % 4) or len(set(rows[whole:])) < size - whole:
            return np.inf
        last.extend(rows[whole:])
    return 0.0 if set(last) == {0, 1, 2, 3} else np.inf


def _noise(sample, draw):
    reference, sigma = draw.normal(4, draw.d), 0.3
    cloud = draw.call(lambda s: sample(s, rng=draw.rng, sizes=np.full(DRAWS, 4), sigma=sigma), reference)
    return (cloud.points - reference) / sigma


def moments_of_barycentric_noise(sample, draw):
    """Mean 0, variance 1 and no correlation of all entries of the noise, in standard errors."""
    noise = _noise(sample, draw).reshape(DRAWS, -1)
    products = noise[:, :, None] * noise[:, None, :]
    return worst_of(standard_errors(noise, 0.0), standard_errors(products, np.eye(noise.shape[1])))


def noise_is_normal(sample, draw):
    """Standard deviations at which a normal law has the probability of the sample's largest gap."""
    found = scipy.stats.kstest(_noise(sample, draw).ravel(), "norm")
    return float(scipy.stats.norm.isf(max(found.pvalue, 1e-300) / 2.0))


# SRC-3


def src_3_clouds() -> Item:
    """Empirical source of clouds."""
    return Item(
        id="GWFM-SRC3-clouds",
        paper="GWFM",
        place="section 4.1, for point clouds",
        title="empirical source of clouds",
        latex=r"\mu=\mu_I,\qquad I\sim U\{1,\dots,N\}",
        statement="A flow between families starts at members of one, each equally often.",
        functions=(AlignedClouds.batch,),
        checks=(
            Check(
                "the members, and their frequencies",
                sources_are_members,
                _sources,
                {
                    "the first half only": lambda family, size, rng: _sources(
                        AlignedClouds(family.points[:4], None, ()), size, rng
                    ),
                    "points of several members": _mixed,
                },
                STANDARD_ERRORS,
                size=8,
                dimensions=(2,),
            ),
        ),
    )


def _sources(family, size, rng):
    return family.batch(rng.integers(len(family), size=size))


def _mixed(family, size, rng):
    index = rng.integers(len(family), size=(size, family.points.shape[1]))
    points = family.points[index, np.arange(family.points.shape[1])]
    return PointCloud(points, np.full(points.shape[:2], 1.0 / points.shape[1]))


def sources_are_members(sources, draw):
    """Frequencies of 10000 draws in standard errors; infinite if one is no member."""
    family = AlignedClouds(draw.normal(draw.size, 3, draw.d), None, ())
    drawn = sources(family, DRAWS, draw.rng).points
    found = np.all(drawn[:, None] == family.points, axis=(2, 3))
    if not np.all(found.sum(axis=1) == 1):
        return np.inf
    return standard_errors(found.astype(float), 1.0 / draw.size)
