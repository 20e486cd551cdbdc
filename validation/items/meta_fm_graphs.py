"""Audited formulas of Meta Flow Matching: graphs of neighbours, and averages along them."""

import numpy as np

from refwfm.populations.graphs import averaging, knn_graph, neighbour_mean
from refwfm.validation import plain_population as plain
from refwfm.validation.check import EXACT, Check, Item, roundings, worst_of
from refwfm.validation.textbook import relative

N, K = plain.N, plain.K


def items() -> list[Item]:
    """Return the items in the order of the paper."""
    return [meta_fm_1()]


# META-FM-1


def meta_fm_1() -> Item:
    """Graph of nearest neighbours, and the average along it."""
    return plain.population_item(
        1,
        "section 4, population embedding; public code",
        "nearest neighbours, and the average over them",
        r"(\hat D^{-1/2}(A+I)\hat D^{-1/2}z)_i=\frac1{k+1}\Big(z_i+\sum_{j\in N_k(i)}z_j\Big)",
        "Every particle hears k neighbours, so that all degrees are k + 1 and the normalised graph averages.",
        (knn_graph, neighbour_mean, averaging),
        (
            Check(
                "distances of integers, sorted by loops",
                neighbours_by_loops,
                lambda x, mask: knn_graph(x, K, mask),
                {
                    "the particle itself kept": _with_itself,
                    "copies left out": _without_copies,
                    "the furthest": lambda x, mask: _sorted_graph(x, mask, lambda d: -d),
                    "ties by the higher number": lambda x, mask: _sorted_graph(
                        x, mask, lambda d: d - 1e-9 * np.arange(d.shape[-1])
                    ),
                    "padding heard": lambda x, mask: knn_graph(x, K),
                    "distance of the first coordinate": lambda x, mask: knn_graph(x[..., :1], K, mask),
                },
                EXACT,
                dimensions=(2, 3),
                size=5,
            ),
            Check(
                "the textbook's matrix",
                averages,
                lambda z, index: neighbour_mean(z, index)[0],
                {
                    "sum instead of mean": lambda z, index: (K + 1) * neighbour_mean(z, index)[0],
                    "itself left out": lambda z, index: ((K + 1) * neighbour_mean(z, index)[0] - z) / K,
                    "itself half": lambda z, index: (
                        0.5 * z + 0.5 * ((K + 1) * neighbour_mean(z, index)[0] - z) / K
                    ),
                    "degrees of those who hear it": _symmetric,
                    "from centre to neighbour": lambda z, index: neighbour_mean(z, index)[1](z),
                },
                roundings(20, "sums of three"),
                dimensions=(1, 3),
            ),
            Check(
                "the textbook's matrix, transposed",
                average_pullbacks,
                lambda z, index, d: averaging(index)(z)[1](d),
                {
                    "not transposed": lambda z, index, d: neighbour_mean(d, index)[0],
                    "itself left out": lambda z, index, d: neighbour_mean(z, index)[1](d) - d / (K + 1),
                    "sum instead of mean": lambda z, index, d: (K + 1) * neighbour_mean(z, index)[1](d),
                },
                roundings(20, "sums of a few"),
                dimensions=(1, 3),
            ),
            Check(
                "means over those who are there",
                small_populations,
                lambda z, x, mask: neighbour_mean(z, knn_graph(x, 4, mask))[0],
                {
                    "divided by k + 1": _as_if_full,
                    "padding heard": lambda z, x, mask: neighbour_mean(z, knn_graph(x, 4))[0],
                    "the last in place of nobody": lambda z, x, mask: np.mean(
                        np.concatenate(
                            [z[:, :, None], z[np.arange(len(z))[:, None, None], knn_graph(x, 4, mask)]],
                            axis=2,
                        ),
                        axis=2,
                    ),
                },
                roundings(20, "sums of a few"),
                dimensions=(1, 3),
            ),
        ),
    )


def _sorted_graph(x, mask, key):
    d = np.sum((x[:, :, None] - x[:, None]) ** 2, axis=-1)
    others = mask[:, None, :] & mask[:, :, None] & ~np.eye(x.shape[1], dtype=bool)
    index = np.argsort(np.where(others, key(d), np.inf), axis=-1, kind="stable")[..., :K]
    return np.where(np.take_along_axis(others, index, axis=-1), index, -1)


def _with_itself(x, mask):
    d = np.sum((x[:, :, None] - x[:, None]) ** 2, axis=-1)
    return np.argsort(np.where(mask[:, None, :], d, np.inf), axis=-1, kind="stable")[..., :K]


def _without_copies(x, mask):
    return _sorted_graph(x, mask, lambda d: np.where(d == 0, np.inf, d))


def _symmetric(z, index):
    """``D^(-1/2) A D^(-1/2)`` with the degrees of what goes out, on the right."""
    heard = neighbour_mean(np.ones_like(z), index)[1](np.ones_like(z)) * (K + 1)
    return neighbour_mean(z * np.sqrt((K + 1) / heard), index)[0]


def _as_if_full(z, x, mask):
    index = knn_graph(x, 4, mask)
    there = 1 + np.sum(index >= 0, axis=-1, keepdims=True)
    return neighbour_mean(z, index)[0] * there / 5


def neighbours_by_loops(graph, draw):
    """Neighbours that are others than sorting by distance and number gives; the last population is short."""
    x = draw.rng.integers(-2, 3, (draw.size, 8, draw.d)).astype(float)
    mask = np.ones((draw.size, 8), dtype=bool)
    mask[-1, 6:], mask[-2, ::2] = False, False
    found = draw.call(graph, x, mask)
    wrong = 0
    for i in range(draw.size):
        truth = plain.neighbours(x[i], K, mask[i])
        wrong += sum([*row] != [*told][: len(row)] for row, told in zip(truth, found[i], strict=True))
        wrong += int(np.sum(found[i][~mask[i]] != -1))
    return wrong


def averages(function, draw):
    """Of three features."""
    x, z = plain.particles(draw), draw.normal(draw.size, N, 3)
    truth = np.stack([plain.convolution(g) @ f for g, f in zip(plain.graphs(x), z, strict=True)])
    return relative(draw.call(function, z, np.array(plain.graphs(x))), truth)


def average_pullbacks(function, draw):
    """Of three features."""
    x, z, d = plain.particles(draw), draw.normal(draw.size, N, 3), draw.normal(draw.size, N, 3)
    truth = np.stack([plain.convolution(g).T @ f for g, f in zip(plain.graphs(x), d, strict=True)])
    return relative(draw.call(function, z, np.array(plain.graphs(x)), d), truth)


def small_populations(function, draw):
    """Live particles alone, of populations of six, three and one."""
    x, z = plain.particles(draw), draw.normal(draw.size, N, 3)
    mask = np.arange(N) < np.array([[6], [3], [1]])
    found = draw.call(function, z, x, mask)
    worst = 0.0
    for i, n in enumerate((6, 3, 1)):
        graph = plain.neighbours(x[i, :n], 4)
        truth = np.stack([np.mean(z[i, [j, *others]], axis=0) for j, others in enumerate(graph)])
        worst = worst_of(worst, relative(found[i, :n], truth, 1.0))
    return worst
