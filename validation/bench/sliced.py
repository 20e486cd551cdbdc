"""Sliced distances between all members of two batches, and plans drawn from, against loops over POT.

64 × 64 clouds of 512 points in 3-D with 64 directions in float64: the cost matrix of a sliced outer plan. POT
has the distance of one pair, and projects and sorts both clouds again for each; here each cloud is sorted
once, and for equal sizes the rest is one matrix product. Clouds of different sizes meet level by level.
The last row draws 512 pairs of points for each of 64 pairs of clouds, as the sliced inner plan does in a step
of training; POT returns the plan, from which it remains to draw.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import ot

from refwfm.backends import Backend, load
from refwfm.clouds import pad, uniform, unpad
from refwfm.measures import PointCloud
from refwfm.transport.sliced import pairwise_sliced_cost, random_directions, sample_sliced_pairs
from refwfm.validation.bench.measure import Row, compare

B, N, D, N_PROJ = 64, 512, 3, 64
MOST = 1
"""POT takes half a minute: not worth repeating more often."""


def rows(repeats: int = 5) -> list[Row]:
    """Time ours and POT's in turns; raise if the two disagree by more than 1e-10, relatively."""
    rng, backend = np.random.default_rng(0), load("numpy", dtype="float64")
    x, y = (uniform(rng.standard_normal((B, N, D))) for _ in range(2))
    theta = random_directions(x.points, rng=rng, n_proj=N_PROJ)
    ragged = [pad([points[: rng.integers(N // 2, N)] for points in family.points]) for family in (x, y)]
    few = [PointCloud(*(part[: B // 4] for part in family)) for family in ragged]
    return [
        compare(
            f"{B} × {B} clouds of {N} points",
            ours(backend, x, y, theta),
            partial(pot_distances, x, y, theta),
            "POT sliced_wasserstein_distance, in a loop",
            repeats=min(repeats, MOST),
            error=agree,
        ),
        compare(
            f"{B // 4} × {B // 4} clouds of {N // 2} to {N} points",
            ours(backend, *few, theta),
            partial(pot_distances, *few, theta),
            "POT sliced_wasserstein_distance, in a loop",
            repeats=min(repeats, MOST),
            error=agree,
        ),
        compare(
            f"{N} pairs of points from each of {B} plans",
            lambda: sample_sliced_pairs(x, y, theta, rng=np.random.default_rng(1), size=N),
            partial(pot_pairs, x, y, theta),
            "POT expected_sliced_plan, in a loop",
            repeats=min(repeats, MOST),
        ),
    ]


def ours(backend: Backend, x: PointCloud, y: PointCloud, theta: np.ndarray) -> Callable[[], np.ndarray]:
    """Return the squared distances of all pairs, as a function without arguments."""
    x, y = (PointCloud(*map(backend.asarray, family)) for family in (x, y))
    theta = backend.asarray(theta)

    def distances() -> np.ndarray:
        return backend.to_numpy(pairwise_sliced_cost(x, y, theta))

    return distances


def pot_distances(x: PointCloud, y: PointCloud, theta: np.ndarray) -> np.ndarray:
    """Squares of the distances that POT returns, one after the other."""
    left, right = unpad(x), unpad(y)
    roots = [[ot.sliced_wasserstein_distance(a, b, projections=theta.T) for b in right] for a in left]
    return np.array(roots) ** 2


def pot_pairs(x: PointCloud, y: PointCloud, theta: np.ndarray) -> list[np.ndarray]:
    """Pairs drawn from POT's plans, one after the other, as indices into the flat plan."""
    rng = np.random.default_rng(1)
    drawn = []
    for a, b in zip(x.points, y.points, strict=True):
        plan, _ = ot.expected_sliced_plan(a, b, projections=theta.T)
        flat = np.cumsum(plan)
        drawn.append(np.searchsorted(flat, flat[-1] * rng.random(N)))
    return drawn


def agree(ours: np.ndarray, peer: np.ndarray) -> tuple[None, None]:
    """Raise unless the distances are the same to ten digits."""
    difference = float(np.max(np.abs(ours / peer - 1.0)))
    if not difference < 1e-10:
        raise RuntimeError(f"our distances and POT's differ by {difference:.3g}")
    return None, None
