"""Distances between points: squares that are expanded, sums that lose their digits."""

import numpy as np

from refwfm.measures import PointCloud
from refwfm.transport.exact import sq_wasserstein2
from refwfm.transport.sinkhorn import sq_euclidean_cost
from refwfm.validation.museum.exhibit import Exhibit, Trap, near


def exhibits() -> list[Exhibit]:
    """Exhibits of this room."""
    return [
        Exhibit(
            "scikit-learn-9354",
            "a short distance between long vectors, in single precision",
            "scikit-learn/scikit-learn#9354",
            2017,
            "Euclidean distances of float32 data were taken from the expanded square. For two close points "
            "away from the origin the result disagreed with the norm of their difference, with which the "
            "one in float64 agreed.",
            Trap(a_close_pair_keeps_its_digits, sq_euclidean_cost, expanded),
        ),
        Exhibit(
            "scikit-learn-13905",
            "distances of float32 data turn to zero",
            "scikit-learn/scikit-learn#13905",
            2019,
            "After an upgrade many distances of one float32 data set were exactly 0 and others far too "
            "large, while SciPy's were as before; an overflow was suspected. Here squares overflow, and what "
            "infinity less infinity leaves is cut off at 0.",
            Trap(large_coordinates_have_distances, sq_euclidean_cost, expanded),
        ),
        Exhibit(
            "pytorch-42479",
            "two points a hundred apart have distance zero",
            "pytorch/pytorch#42479",
            2020,
            "The matrix product mode of cdist gave 0 for two numbers near half a million that differ by "
            "about a hundred. The mode is chosen silently when there are many points.",
            Trap(a_hundred_is_not_nothing, sq_euclidean_cost, expanded),
        ),
        Exhibit(
            "pytorch-37734",
            "a pair alone and the same pair in a batch",
            "pytorch/pytorch#37734",
            2020,
            "For one pair of vectors cdist returned a small positive number, and for the same pair among "
            "hundreds of others 0, whose gradient is NaN: another formula is used for many vectors.",
            Trap(company_changes_no_distance, sq_euclidean_cost, direct_for_few),
        ),
        Exhibit(
            "pytorch-57690",
            "points are not where they are",
            "pytorch/pytorch#57690",
            2021,
            "Distances of points to themselves came out as several thousandths on a GPU, where products are "
            "rounded even more, and were not zero on other machines either.",
            Trap(every_point_is_at_itself, sq_euclidean_cost, expanded),
        ),
        Exhibit(
            "faiss-297",
            "negative squared distances",
            "facebookresearch/faiss#297",
            2017,
            "Searching neighbours of images returned squared distances down to minus a thousand when some "
            "features varied much more than others. Batches of more than twenty queries use the expansion.",
            Trap(no_square_is_negative, sq_euclidean_cost, expanded_and_not_cut),
        ),
        Exhibit(
            "faiss-3245",
            "the wrong nearest neighbour",
            "facebookresearch/faiss#3245",
            2024,
            "A search among positions on the Earth, in metres from its centre, returned a point almost a "
            "kilometre away although one at eight metres was in the index.",
            Trap(the_nearest_is_found, sq_euclidean_cost, expanded),
        ),
        Exhibit(
            "pytorch-38716",
            "a running sum in single precision",
            "pytorch/pytorch#38716",
            2020,
            "The mean of an image data set was badly wrong in float32: along an outer axis all terms were "
            "added to one running sum. Here the levels of weights on the line are such a sum.",
            Trap(many_small_weights_add_up, sq_wasserstein2, levels_as_a_running_sum),
        ),
    ]


# What goes wrong


def expanded(x, y):
    """The square expanded in the dtype of the data, and cut off at 0."""
    squares = expanded_and_not_cut(x, y)
    return np.where(squares > 0, squares, np.zeros_like(squares))


def expanded_and_not_cut(x, y):
    """The square expanded in the dtype of the data."""
    return np.sum(x * x, axis=-1)[:, None] + np.sum(y * y, axis=-1) - 2 * (x @ y.T)


def direct_for_few(x, y):
    """Differences for up to 25 points, the expanded square for more."""
    if max(len(x), len(y)) <= 25:
        return np.sum((x[:, None] - y) ** 2, axis=-1)
    return expanded(x, y)


def levels_as_a_running_sum(x, y):
    """Transport on the line, its levels added up one after the other in single precision."""
    order = [np.argsort(cloud.points[:, 0]) for cloud in (x, y)]
    levels = [np.cumsum(cloud.weights[o], dtype=np.float32) for cloud, o in zip((x, y), order, strict=True)]
    cuts = np.sort(np.concatenate(levels))
    places = [
        cloud.points[o[np.minimum(np.searchsorted(level, cuts), len(o) - 1)], 0]
        for cloud, o, level in zip((x, y), order, levels, strict=True)
    ]
    return np.sum(np.diff(cuts, prepend=np.float32(0)) * (places[0] - places[1]) ** 2)


# What is asked


def _single(*rows):
    return np.asarray(rows, dtype=np.float32)


def _true(x, y):
    return np.sum((x.astype(np.float64)[:, None] - y.astype(np.float64)) ** 2, axis=-1)


def a_close_pair_keeps_its_digits(distance):
    """Two points about 115 from the origin and 0.02 apart, to five digits."""
    x, y = _single((61.25, 71.6, -65.75)), _single((61.25, 71.602, -65.73))
    return near(distance(x, y), _true(x, y), 1e-5)


def large_coordinates_have_distances(distance):
    """Points near 1e20, whose norms overflow and whose distance does not."""
    x, y = _single((1e20, 0.0)), _single((1.01e20, 0.0), (1e20, 3e17))
    return near(distance(x, y), _true(x, y), 1e-5)


def a_hundred_is_not_nothing(distance):
    """Numbers near half a million that are 100 apart."""
    return near(distance(_single([500000.0]), _single([500100.0])), [[1e4]], 1e-6)


def company_changes_no_distance(distance):
    """A close pair in 39 dimensions, alone and among 100 others."""
    rng = np.random.default_rng(0)
    x = (10.0 + rng.standard_normal((101, 39))).astype(np.float32)
    y = x + _single(np.full(39, 1e-4))
    alone = distance(x[:1], y[:1])[0, 0]
    return near(distance(x, y)[0, 0], alone, 1e-4) and alone > 0


def every_point_is_at_itself(distance):
    """Distances of 50 points in 128 dimensions to themselves."""
    x = np.random.default_rng(0).standard_normal((50, 128)).astype(np.float32)
    return bool(np.all(np.diagonal(distance(x, x)) == 0))


def no_square_is_negative(distance):
    """Near copies of points with one large coordinate."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 8)).astype(np.float32)
    x[:, 0] *= 3000.0
    return bool(np.min(distance(x, x + np.float32(1e-3))) >= 0)


def the_nearest_is_found(distance):
    """Of two points, in metres from the centre of the Earth, the one that is 8 m away."""
    here = np.asarray([[4200000.0, 2300000.0, 4100000.0]])
    there = here + np.asarray([[-550.0, 760.0, 130.0], [-5.0, 6.0, 1.0]])
    return int(np.argmin(distance(here.astype(np.float32), there.astype(np.float32)))) == 1


def many_small_weights_add_up(sq_distance):
    """5000 points spread evenly over an interval, against 4999, in single precision, to three digits."""
    points = [np.linspace(0.0, 1.0, n, dtype=np.float32)[:, None] for n in (5000, 4999)]
    single = [PointCloud(p, np.full(len(p), 1 / len(p), dtype=np.float32)) for p in points]
    double = [PointCloud(p.astype(np.float64), np.full(len(p), 1 / len(p))) for p in points]
    return near(sq_distance(*single), sq_wasserstein2(*double), 1e-3)
