"""Networks that predict potentials: values, pullbacks, losses, invariances, and that training helps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import derivative

from refwfm.backends._grids import grid_softmin
from refwfm.measures import PointCloud
from refwfm.meta.cloud_potentials import cloud_loss_and_grad, cloud_potential, init_cloud_potential
from refwfm.meta.potentials import (
    amortisation_loss,
    init_potential_mlp,
    loss_and_grad,
    potential_mlp,
    unmasked_value_and_gradient,
)
from refwfm.training import optim
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.grids import grid_points, unit_grid
from refwfm.transport.semidual import kl_dual_value, semidual_value_and_gradient, to_product_convention
from refwfm.transport.sinkhorn import sq_euclidean_cost

LIKE, EPS = np.zeros(0), 0.1
GRID = unit_grid((3, 3), like=LIKE)


def pairs(rng, size=4):
    a, b = (rng.dirichlet(np.ones(9), size=size) for _ in range(2))
    a[:, :3] = 0.0
    return a / a.sum(axis=-1, keepdims=True), b


def clouds(rng, n=6, m=5, d=2, shift=1.0):
    return (
        PointCloud(rng.normal(size=(3, n, d)), rng.dirichlet(np.ones(n), size=3)),
        PointCloud(rng.normal(size=(3, m, d)) + shift, rng.dirichlet(np.ones(m), size=3)),
    )


def away_from_zero(rng, params):
    return optim.tree_map(lambda p: p + 0.2 * rng.normal(size=p.shape), params)


def slope(function, params, direction):
    """Of a function of parameters, in a direction."""
    return derivative(lambda s: float(function(optim.tree_map(lambda p, w: p + s * w, params, direction))))


def inner(x, y):
    return sum(np.sum(p * q) for p, q in zip(optim.tree_leaves(x), optim.tree_leaves(y), strict=True))


def test_paper_sizes():
    params = init_potential_mlp(np.random.default_rng(0), 784, 784, like=LIKE)
    assert sum(leaf.size for leaf in optim.tree_leaves(params)) == 4_509_456
    assert np.std(params["hidden"]["0"]["weight"]) == pytest.approx(1568**-0.5, rel=0.01)
    assert not np.any(params["out"]["bias"])


@pytest.mark.parametrize("mask_support", [True, False])
@pytest.mark.parametrize("cost", [GRID, sq_euclidean_cost(*2 * [grid_points(GRID)])], ids=["grid", "dense"])
def test_gradient_of_the_loss(rng, mask_support, cost):
    params = away_from_zero(rng, init_potential_mlp(rng, 9, 9, like=LIKE, width=6, depth=2))
    way = optim.tree_map(lambda p: rng.normal(size=p.shape), params)
    a, b = pairs(rng)
    options = {"eps": EPS, "mask_support": mask_support, "baseline": 0.1 * rng.normal(size=a.shape)}
    loss, grad = loss_and_grad(params, a, b, cost, **options)
    truth = slope(lambda p: amortisation_loss(p, a, b, cost, **options), params, way)
    assert inner(grad, way) == pytest.approx(truth, rel=1e-6)
    f = potential_mlp(params, a, b)[0] + options["baseline"]
    if mask_support:
        assert loss == pytest.approx(-np.mean(kl_dual_value(f, cost, a, b, eps=EPS)))
    else:
        assert loss > -np.mean(kl_dual_value(to_product_convention(f, a, eps=EPS), cost, a, b, eps=EPS)) - 1.0
        assert abs(loss + np.mean(kl_dual_value(f, cost, a, b, eps=EPS))) > 1e-3  # control: another loss
    if cost is GRID:
        fast = loss_and_grad(params, a, b, cost, minimum=grid_softmin, **options)
        assert fast[0] == pytest.approx(loss)
        assert inner(fast[1], way) == pytest.approx(inner(grad, way))


def test_unmasked_loss_lowers_what_has_no_weight(rng):
    """The masked loss has no opinion there, the public code's pushes it down; where all weigh, both agree."""
    a, b = pairs(rng)
    f = 0.1 * rng.normal(size=a.shape)
    masked, unmasked = (
        function(f, GRID, a, b, eps=EPS)[1]
        for function in (semidual_value_and_gradient, unmasked_value_and_gradient)
    )
    assert np.all(masked[:, :3] == 0.0)
    assert np.all(unmasked[:, :3] < 0.0)
    a = np.full_like(a, 1 / 9)
    one = semidual_value_and_gradient(f, GRID, a, b, eps=EPS)
    other = unmasked_value_and_gradient(f + EPS * np.log(1 / 9), GRID, a, b, eps=EPS)
    np.testing.assert_allclose(one[1], other[1], atol=1e-13)
    np.testing.assert_allclose(one[0] + EPS * np.log(1 / 9), other[0], atol=1e-13)


def test_training_raises_the_semidual(rng):
    params = init_potential_mlp(rng, 9, 9, like=LIKE, width=16, depth=2)
    state = optim.init_adam(params)
    a, b = pairs(rng, 16)
    first = amortisation_loss(params, a, b, GRID, eps=EPS)
    for _ in range(100):
        _, grad = loss_and_grad(params, a, b, GRID, eps=EPS)
        params, state = optim.adam(params, grad, state, learning_rate=1e-2)
    last = amortisation_loss(params, a, b, GRID, eps=EPS)
    assert last < first - 0.01
    zeros = -np.mean(kl_dual_value(0 * a, GRID, a, b, eps=EPS))
    assert last < zeros


def test_parameters_for_other_atoms_are_refused(rng):
    params = init_potential_mlp(rng, 3, 2, like=LIKE, width=4)
    with pytest.raises(ValueError, match=r"weights a \(..., 3\) and b \(..., 2\); got \(4,\) and \(2,\)"):
        potential_mlp(params, np.ones(4), np.ones(2))


# Clouds


def test_clouds_start_from_the_gaussian_potential(rng):
    x, y = clouds(rng)
    params = init_cloud_potential(rng, 2, like=LIKE, width=8)
    f, truth = cloud_potential(params, x, y, eps=EPS)[0], gaussian_potential(x, y)
    centred = [p - np.sum(x.weights * p, axis=-1, keepdims=True) for p in (f, truth)]
    np.testing.assert_allclose(*centred, atol=1e-12)


def test_gradient_for_clouds(rng):
    x, y = clouds(rng)
    params = away_from_zero(rng, init_cloud_potential(rng, 2, like=LIKE, width=5))
    way = optim.tree_map(lambda p: rng.normal(size=p.shape), params)
    _, grad = cloud_loss_and_grad(params, x, y, eps=EPS)
    truth = slope(lambda p: cloud_loss_and_grad(p, x, y, eps=EPS)[0], params, way)
    assert inner(grad, way) == pytest.approx(truth, rel=1e-6)


@given(st.integers(0, 99), st.sampled_from([1e-120, 0.3, 1e120]))
def test_potential_of_clouds_has_no_order_no_origin_and_the_unit_of_the_cost(seed, unit):
    rng = np.random.default_rng(seed)
    x, y = clouds(rng)
    params = away_from_zero(rng, init_cloud_potential(rng, 2, like=LIKE, width=5))
    f = cloud_potential(params, x, y, eps=EPS)[0]
    order, other = rng.permutation(6), rng.permutation(5)
    mixed = cloud_potential(
        params,
        PointCloud(x.points[:, order], x.weights[:, order]),
        PointCloud(y.points[:, other], y.weights[:, other]),
        eps=EPS,
    )[0]
    np.testing.assert_allclose(mixed, f[:, order], atol=1e-11)
    scaled = cloud_potential(
        params, *(c._replace(points=unit * c.points) for c in (x, y)), eps=unit**2 * EPS
    )[0]
    np.testing.assert_allclose(scaled / unit**2, f, rtol=1e-9, atol=1e-11)
    moved = cloud_potential(params, *(c._replace(points=c.points + 3.0) for c in (x, y)), eps=EPS)[0]
    np.testing.assert_allclose(moved, f, atol=1e-10)
    assert np.max(np.abs(cloud_potential(params, x, y, eps=2 * EPS)[0] - f)) > 1e-9  # control: eps is read


def test_padding_of_clouds(rng):
    x, y = clouds(rng)
    params = away_from_zero(rng, init_cloud_potential(rng, 2, like=LIKE, width=5))
    f = cloud_potential(params, x, y, eps=EPS)[0]
    padded = [
        PointCloud(
            np.concatenate([c.points, np.full((3, 2, 2), np.nan)], axis=1),
            np.concatenate([c.weights, np.zeros((3, 2))], axis=1),
        )
        for c in (x, y)
    ]
    found = cloud_potential(params, *padded, eps=EPS)[0]
    np.testing.assert_allclose(found[:, :6], f, atol=1e-12)
    assert np.all(found[:, 6:] == 0.0)


def test_clouds_of_one_point(rng):
    params = away_from_zero(rng, init_cloud_potential(rng, 2, like=LIKE, width=5))
    same = PointCloud(np.full((1, 2), 5.0), np.ones(1))
    assert np.isfinite(cloud_potential(params, same, same, eps=EPS)[0]).all()


@pytest.mark.slow
def test_libraries_agree(library, rng):
    params = away_from_zero(rng, init_potential_mlp(rng, 9, 9, like=LIKE, width=6, depth=2))
    a, b = pairs(rng)
    cost = sq_euclidean_cost(*2 * [grid_points(GRID)])
    library.check(
        lambda a, b, cost, *leaves: loss_and_grad(
            optim.unflatten(dict(zip(optim.flatten(params), leaves, strict=True))), a, b, cost, eps=EPS
        )[0],
        a,
        b,
        cost,
        *optim.flatten(params).values(),
        ulps=1000,
        scale=1.0,
    )
