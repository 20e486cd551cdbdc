"""Random clouds and directions of projection, and POT's sliced transport between them."""

import numpy as np

from refwfm.measures import PointCloud

N_PROJ = 12


def instances(draw):
    """Pairs of clouds with directions: alike, of unequal sizes, of unequal weights."""
    for n, m, weighted in ((5, 5, False), (4, 6, False), (5, 7, True)):
        yield instance(draw, n, m, weighted=weighted)


def instance(draw, n, m, *, weighted, n_proj=N_PROJ):
    """Two clouds, and directions along which no two points come so close that rounding exchanges them."""
    while True:
        x, y = (normalised(cloud(draw, size, weighted=weighted)) for size in (n, m))
        theta = directions(draw, 20 * n_proj)
        for one in (x, y):
            theta = theta[np.min(np.diff(np.sort(theta @ one.points.T, axis=-1), axis=-1), axis=-1) > 1e-3]
        if len(theta) >= n_proj:
            return x, y, theta[:n_proj]


def directions(draw, n_proj):
    """Unit vectors, rounded."""
    return draw.rounded(unit(draw.rng.standard_normal((n_proj, draw.d))))


def cloud(draw, n, *, weighted):
    """Points about a line across the space, in random order, so that projections keep apart."""
    points = draw.rng.permutation(np.arange(n))[:, None] * 0.5 + draw.rng.standard_normal((n, draw.d))
    weights = draw.rng.dirichlet(np.full(n, 5.0)) if weighted else np.full(n, 1.0 / n)
    return PointCloud(draw.rounded(points), draw.rounded(weights))


def normalised(x):
    """Weights whose sum is 1 in float64: those of the dtype under audit are close enough to it."""
    return PointCloud(x.points, x.weights / np.sum(x.weights))


def even(x):
    """Equal weights."""
    return PointCloud(x.points, np.full(x.weights.shape, 1.0 / x.weights.shape[-1]))


def unit(z):
    """Vectors of length 1."""
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


# POT


def pot_cost(x, y, theta, p=2):
    """Power p of POT's sliced distance."""
    import ot

    options = {"p": p, "projections": theta.T}
    return ot.sliced_wasserstein_distance(x.points, y.points, x.weights, y.weights, **options) ** p


def pot_plan(x, y, theta):
    """Sliced plan of POT."""
    import ot

    return ot.expected_sliced_plan(x.points, y.points, x.weights, y.weights, projections=theta.T)[0]
