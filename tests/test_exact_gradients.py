"""Gradients of exact transport are those of its optimal plan; what has none says so."""

import numpy as np
import pytest

from refwfm.clouds import uniform
from refwfm.couplings.costs import outer_cost, pairwise_sq_wasserstein2
from refwfm.couplings.outer import outer_plan
from refwfm.measures import PointCloud
from refwfm.metrics.distances import chamfer, pairwise_chamfer, pairwise_emd
from refwfm.transport.exact import sq_wasserstein2, transport_plan
from refwfm.transport.families import Family, optimal_plan, sq_wow_distance

torch = pytest.importorskip("torch")


def tensor(values):
    return torch.asarray(np.asarray(values), dtype=torch.float64).clone().requires_grad_()


def random_pair(rng, d, n=4, m=5, batch=()):
    return [
        tensor(part)
        for k in (n, m)
        for part in (rng.standard_normal((*batch, k, d)), rng.dirichlet(np.full(k, 3.0), batch))
    ]


def distance(x, a, y, b):
    """Weights divided by their sums: so that finite differences stay among measures."""
    a, b = a / a.sum(-1, keepdim=True), b / b.sum(-1, keepdim=True)
    return sq_wasserstein2(PointCloud(x, a), PointCloud(y, b))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_distances_have_the_gradients_of_finite_differences(rng, d, batch):
    assert torch.autograd.gradcheck(distance, random_pair(rng, d, batch=batch))


@pytest.mark.parametrize("d", [1, 2])
def test_clouds_alike_and_broadcast(rng, d):
    x, y = tensor(rng.standard_normal((3, 1, 4, d))), tensor(rng.standard_normal((2, 4, d)))
    assert torch.autograd.gradcheck(lambda x, y: sq_wasserstein2(uniform(x), uniform(y)), (x, y))
    z = tensor(x.detach().numpy()[0, 0])
    assert torch.autograd.gradcheck(lambda z: sq_wasserstein2(uniform(z), uniform(y.detach()[0])), (z,))


def test_a_gradient_by_hand_and_padding():
    """{0, 1} to {5, 3}: 0 goes to 3, 1 to 5; a padded point has the gradient 0."""
    for more in ([], [0.0]):
        points = [[0.0, *more], [1.0, *more], [np.nan, *more]]
        x, a = tensor(points), tensor([0.5, 0.5, 0.0])
        y = tensor([[5.0, *more], [3.0, *more]])
        sq_wasserstein2(PointCloud(x, a), uniform(y)).backward()
        np.testing.assert_allclose(x.grad[:, 0], [-3.0, -4.0, 0.0], atol=1e-14)
        np.testing.assert_allclose(y.grad[:, 0], [4.0, 3.0], atol=1e-14)
        assert np.all(np.isfinite(a.grad.numpy()))


def test_the_cost_of_a_plan(rng):
    cost, a, b = rng.random((2, 3, 4)), rng.dirichlet(np.ones(3), 2), rng.dirichlet(np.ones(4))
    cost, a, b = map(tensor, (cost, a, b))

    def least(cost, a, b):
        return transport_plan(cost, a / a.sum(-1, keepdim=True), b / b.sum()).cost

    assert torch.autograd.gradcheck(least, (cost, a, b))
    found = transport_plan(cost, a, b)
    (gradient,) = torch.autograd.grad(found.cost.sum(), cost)
    np.testing.assert_array_equal(gradient, found.plan.detach())
    for name in ("plan", "f", "g", "gap", "row_error", "col_error"):
        with pytest.raises(RuntimeError, match="has no derivative"):
            getattr(transport_plan(cost, a, b), name).sum().backward()
    assert not transport_plan(cost.detach(), a.detach(), b.detach()).plan.requires_grad


def test_families_through_both_levels(rng):
    parts = [*random_pair(rng, 2, n=3, m=2, batch=(2,)), tensor([0.3, 0.7]), tensor([0.6, 0.4])]

    def wow(x, a, y, b, v, w):
        a, b, v, w = (z / z.sum(-1, keepdim=True) for z in (a, b, v, w))
        return sq_wow_distance(Family(PointCloud(x, a), v), Family(PointCloud(y, b), w)).sq_distance

    assert torch.autograd.gradcheck(wow, parts)


@pytest.mark.parametrize("outer", ["wasserstein", "chamfer", "lazy"])
def test_outer_costs(rng, outer):
    x, y = tensor(rng.standard_normal((2, 3, 2))), tensor(rng.standard_normal((3, 3, 2)))
    assert torch.autograd.gradcheck(lambda x, y: outer_cost(uniform(x), uniform(y), outer), (x, y))


@pytest.mark.parametrize("squared", [True, False])
def test_chamfer(rng, squared):
    x, y = tensor(rng.standard_normal((3, 6))), tensor(rng.standard_normal((4, 6)))
    assert torch.autograd.gradcheck(lambda x, y: chamfer(uniform(x), uniform(y), squared=squared), (x, y))
    chamfer(uniform(x), uniform(x.detach()), squared=squared).backward()
    np.testing.assert_array_equal(x.grad, np.zeros((3, 6)))


def test_plans_have_none(rng):
    x, y = (uniform(tensor(rng.standard_normal((n, 2)))) for n in (3, 4))
    for plan in (optimal_plan(x, y), *(outer_plan(tensor(rng.random((2, m)))) for m in (2, 3))):
        with pytest.raises(RuntimeError, match="the optimal plan has no derivative"):
            plan.sum().backward()


def test_matrices_on_the_host_refuse(rng):
    family = uniform(tensor(rng.standard_normal((2, 3, 2))))
    for matrix in (pairwise_chamfer, lambda xs: pairwise_emd(xs, squared=True)):
        with pytest.raises(TypeError, match="has no gradient: detach"):
            matrix(family)
        with torch.no_grad():
            assert matrix(family).shape == (2, 2)


@pytest.mark.parametrize("d", [1, 2])
def test_jax(rng, d):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    parts = random_pair(rng, d)
    distance(*parts).backward()
    ours = [jax.numpy.asarray(part.detach().numpy()) for part in parts]

    def of_jax(x, a, y, b):
        return sq_wasserstein2(PointCloud(x, a / a.sum()), PointCloud(y, b / b.sum()))

    for theirs, mine in zip(parts, jax.grad(of_jax, argnums=(0, 1, 2, 3))(*ours), strict=True):
        np.testing.assert_allclose(mine, theirs.grad, rtol=1e-12, atol=1e-14)
    family = uniform(jax.numpy.asarray(rng.standard_normal((2, 3, d))))
    moved = family._replace(points=family.points + 1.0)
    gradient = jax.grad(lambda p: pairwise_sq_wasserstein2(PointCloud(p, family.weights), moved)[0, 0])
    np.testing.assert_allclose(gradient(family.points)[0], -2.0 / 3.0, rtol=1e-12)
    half = jax.numpy.full(2, 0.5)
    with pytest.raises(TypeError, match="JAX can neither trace nor differentiate"):
        jax.grad(lambda cost: transport_plan(cost, half, half).cost)(jax.numpy.ones((2, 2)))
