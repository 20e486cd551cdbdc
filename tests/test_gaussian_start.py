"""The Gaussian start of Sinkhorn's iteration."""

import numpy as np
import oracles
import pytest

from refwfm.clouds import moments, uniform
from refwfm.measures import PointCloud
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.sinkhorn import sinkhorn, sq_euclidean_cost


def cloud(rng, n, d=3, shift=0.0):
    return PointCloud(rng.normal(size=(n, d)) + shift, rng.dirichlet(np.full(n, 5.0)))


def test_gaussian_potential_is_that_of_the_map(rng):
    """Its gradient is ``2 (p - T(p))``, by differences; between affine images it solves the problem."""
    x = cloud(rng, 9)
    root = np.array([[1.2, 0.3, 0.0], [0.3, 0.8, -0.1], [0.0, -0.1, 0.5]])
    y = PointCloud(x.points @ root + np.array([1.0, -2.0, 0.5]), x.weights)
    f = gaussian_potential(x, y)
    gap = sq_euclidean_cost(x.points, y.points) - f[:, None]
    g = gap.min(axis=0)  # the c-transform: T sends x_i to y_i, where f + g = K
    np.testing.assert_array_equal(np.argmin(gap, axis=0), np.arange(9))
    assert x.weights @ f + y.weights @ g == pytest.approx(oracles.sq_distance(moments(*x), moments(*y)))
    assert np.argmin(sq_euclidean_cost(x.points, y.points) + f[:, None], axis=0).tolist() != list(range(9))


def test_gaussian_potential_is_a_good_start(rng):
    x, y = (uniform(rng.normal(size=(60, 3)) @ np.diag(s) + 3.0) for s in ([1, 2, 0.5], [2, 0.5, 1]))
    arrays = sq_euclidean_cost(x.points, y.points), x.weights, y.weights
    early = {"eps": 0.1, "tol": None, "max_iter": 3}
    warm = sinkhorn(*arrays, **early, f_init=gaussian_potential(x, y))
    assert warm.col_error < 0.7 * sinkhorn(*arrays, **early).col_error
    done = sinkhorn(*arrays, eps=0.1)
    assert sinkhorn(*arrays, eps=0.1, f_init=done.f).n_iter == 1


def test_gaussian_potential_of_degenerate_clouds(rng):
    single, flat = uniform(rng.normal(size=(1, 3))), uniform(rng.normal(size=(5, 3)) * [1, 1, 0])
    for pair in ((single, flat), (flat, single), (flat, uniform(rng.normal(size=(5, 3)))), (single, single)):
        assert np.isfinite(gaussian_potential(*pair)).all()


@pytest.mark.slow
def test_libraries_agree(library, rng):
    for shape in library.batches:
        x, y = rng.normal(size=(*shape, 5, 2)) + 10.0, rng.normal(size=(4, 2)) + 10.0
        library.check(lambda x, y: gaussian_potential(uniform(x), uniform(y)), x, y, ulps=3000)
