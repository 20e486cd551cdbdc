"""Oracles of small clouds: all permutations are tried.

They are what alignments and their stability are held against. Arrays are on the host, one cloud at a time.
"""

from itertools import permutations

import numpy as np

from refwfm.transport.linearized import align_to_reference, reorder
from refwfm.validation.check import Tolerance, roundings

N = 5
"""Points of a cloud, so that all 120 permutations can be tried."""

MEANS = roundings(100, "means of a few squares")
NEVER_LESS = Tolerance(1e-12, 1e-5, "rounding; a smaller value is an error whatever its size")


def images(x):
    """All orders of the points of a cloud, shape (n!, n, d)."""
    return x[np.array(list(permutations(range(len(x)))))]


def sq_costs(s, x):
    """``‖S - Q X‖_F²`` of all permutations."""
    return np.sum((s - images(x)) ** 2, axis=(-2, -1))


def best_order(s, x):
    """``P X``."""
    return images(x)[np.argmin(sq_costs(s, x))]


def sq_distance(x, y):
    """Squared 2-Wasserstein distance of clouds of equal size."""
    return np.min(sq_costs(x, y)) / len(x)


def instance(draw, count):
    """A reference and clouds whose best assignments to it are better than the second-best by a margin."""
    while True:
        points = draw.normal(1 + count, N, draw.d)
        s, clouds = points[0], points[1:]
        costs = [np.sort(sq_costs(s, x)) for x in clouds]
        if all(c[1] - c[0] > 0.02 * c[0] for c in costs):
            return s, clouds


def worst_of_all(s, x):
    """Stability radius as it is written, and the unit vector along which the alignment is beaten first."""
    px = best_order(s, x)
    away = px - images(x)
    norm = np.sqrt(np.sum(away**2, axis=(-2, -1)))
    moved = norm > 0
    gap = sq_costs(s, x) - np.sum((s - px) ** 2)
    radii = gap[moved] / (2.0 * norm[moved])
    k = np.argmin(radii)
    return radii[k], -(away[moved] / norm[moved][:, None, None])[k]


def excess(z, s, x):
    """How much the alignment to s costs at z above the best, relatively."""
    lazy = np.sum((z - best_order(s, x)) ** 2)
    return (lazy - np.min(sq_costs(z, x))) / lazy


def inverse_order(s, x):
    """Clouds reordered by the inverses of their alignments: a negative control."""
    return reorder(x.points, np.argsort(align_to_reference(s, x), axis=-1))
