"""The semi-dual: what a potential is worth, its gradient, its gap; the derivative that torch is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import derivative

from refwfm.transport.grids import Grid
from refwfm.transport.semidual import (
    kl_dual_value,
    semidual_gradient,
    semidual_value,
    semidual_value_and_gradient,
    to_product_convention,
)
from refwfm.transport.sinkhorn import dual_value, plan, sinkhorn, softmin

EPS = 0.2


def problem(rng, n=6, m=5, batch=()):
    cost = rng.uniform(size=(*batch, n, m))
    return cost, rng.dirichlet(np.ones(n), size=batch), rng.dirichlet(np.ones(m), size=batch)


def test_value_is_the_dual_value_at_the_half_step(rng):
    cost, a, b = problem(rng)
    solution = sinkhorn(cost, a, b, eps=EPS)
    f = 0.3 * rng.normal(size=6)
    half = solution._replace(f=f, g=softmin(cost.T, f, a, np.asarray(EPS)))
    assert kl_dual_value(f, cost, a, b, eps=EPS) == pytest.approx(dual_value(cost, a, b, half), abs=1e-13)
    assert abs(kl_dual_value(f, cost, a, b, eps=EPS) - dual_value(cost, a, b, solution)) > 1e-3  # control


@given(st.integers(0, 99), st.sampled_from([0.05, 0.3, 2.0]))
def test_gap_is_a_divergence_and_bounds_the_plan(seed, eps):
    """``D* - S(f) = eps KL(P* | P)``, to 1e-12, never negative; Pinsker bounds the distance of the plans."""
    rng = np.random.default_rng(seed)
    cost, a, b = problem(rng)
    best = sinkhorn(cost, a, b, eps=eps, tol=1e-14, max_iter=20_000, require=False)
    f = eps * rng.normal(size=6)
    top, value = (semidual_value(p, cost, a, b, eps=eps) for p in (best.f, f))
    P = plan(cost, a, b, best)
    Q = plan(cost, a, b, best._replace(f=f, g=softmin(cost.T, f, a, np.asarray(eps))))
    gap = eps * np.sum(P * np.log(P / Q))
    assert top - value == pytest.approx(gap, abs=1e-12)
    assert value <= top + 1e-13
    assert np.sum(np.abs(P - Q)) <= np.sqrt(2 * gap / eps) + 1e-9
    assert abs(top - value - eps * np.sum(Q * np.log(Q / P))) > 1e-6  # control: the other divergence


@given(st.integers(0, 99), st.floats(-5, 5))
def test_a_constant_is_worth_nothing(seed, constant):
    rng = np.random.default_rng(seed)
    cost, a, b = problem(rng)
    f = rng.normal(size=6)
    moved, still = (semidual_value_and_gradient(p, cost, a, b, eps=EPS) for p in (f + constant, f))
    np.testing.assert_allclose(moved[0], still[0], atol=1e-12)
    np.testing.assert_allclose(moved[1], still[1], atol=1e-11)


def test_gradient_is_the_slope_and_what_rows_lack(rng):
    cost, a, b = problem(rng)
    f = 0.2 * rng.normal(size=6)
    gradient = semidual_gradient(f, cost, a, b, eps=EPS)
    for i in range(6):
        slope = derivative(lambda s, i=i: semidual_value(f + s * np.eye(6)[i], cost, a, b, eps=EPS))
        assert gradient[i] == pytest.approx(slope, abs=1e-8)
    assert np.sum(gradient) == pytest.approx(0.0, abs=1e-14)
    solution = sinkhorn(cost, a, b, eps=EPS, tol=1e-13, require=False, max_iter=5000)
    np.testing.assert_allclose(semidual_gradient(solution.f, cost, a, b, eps=EPS), 0.0, atol=1e-12)


def test_atoms_without_weight_have_no_influence(rng):
    cost, a, b = problem(rng)
    a = np.append(a, 0.0)
    padded = np.concatenate([cost, np.full((1, 5), np.nan)])
    f = np.append(0.2 * rng.normal(size=6), np.nan)
    value, gradient = semidual_value_and_gradient(f, padded, a, b, eps=EPS)
    truth = semidual_value_and_gradient(f[:-1], cost, a[:-1], b, eps=EPS)
    assert value == pytest.approx(truth[0])
    np.testing.assert_allclose(gradient, [*truth[1], 0.0], atol=1e-15)
    assert to_product_convention(np.append(f[:-1], -np.inf), a, eps=EPS)[-1] == 0.0


def test_tiny_eps_needs_logarithms(rng):
    cost, a, b = problem(rng)
    f = rng.normal(size=6)
    value, gradient = semidual_value_and_gradient(f, cost, a, b, eps=1e-6)
    hard = f @ a + np.min(cost - f[:, None], axis=0) @ b
    assert value == pytest.approx(hard, abs=1e-5)
    assert np.isfinite(gradient).all()
    with np.errstate(all="ignore"):
        assert not np.isfinite(
            np.log(np.exp(-(cost + 1.0) / 1e-6).sum(axis=0))
        ).any()  # control: the kernel is 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": np.full(6, 0.5)}, "mass 1"),
        ({"f": np.full(6, np.nan)}, "f_init must be finite"),
        ({"f": np.zeros(5)}, "f_init must have shape"),
        ({"eps": 0.0}, "eps must be positive"),
    ],
)
def test_wrong_arguments(rng, change, message):
    cost, a, b = problem(rng)
    given = {"f": np.zeros(6), "cost": cost, "a": a, "b": b, "eps": EPS} | change
    eps = given.pop("eps")
    with pytest.raises(ValueError, match=message):
        semidual_value(*given.values(), eps=eps)


def test_torch_differentiates_the_envelope(rng):
    """Also where plain autograd through the logarithm of a weight of 0 would give NaN."""
    torch = pytest.importorskip("torch")
    cost, a, b = problem(rng)
    given = [torch.tensor(x, requires_grad=True) for x in (0.2 * rng.normal(size=6), cost, a, b)]
    assert torch.autograd.gradcheck(lambda *x: semidual_value(*x, eps=EPS, validate=False), given)
    a[0], a[1] = 0.0, a[0] + a[1]
    f = torch.tensor(0.2 * rng.normal(size=6), requires_grad=True)
    semidual_value(f, *map(torch.tensor, (cost, a, b)), eps=EPS).backward()
    truth = semidual_gradient(f.detach().numpy(), cost, a, b, eps=EPS)
    np.testing.assert_allclose(f.grad.numpy(), truth, atol=1e-14)
    eps = torch.tensor(EPS, dtype=torch.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="no derivative with respect to eps"):
        semidual_value(f, *map(torch.tensor, (cost, a, b)), eps=eps).backward()


def test_torch_differentiates_weights_on_a_grid(rng):
    """They have a derivative there too: eps, which has none, is not computed from them."""
    torch = pytest.importorskip("torch")
    grid = Grid((torch.asarray([0.0, 0.4, 1.0], dtype=torch.float64),))
    given = [torch.tensor(0.2 * rng.normal(size=3), requires_grad=True)]
    given += [torch.tensor(rng.dirichlet(np.ones(3)), requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(
        lambda f, a, b: semidual_value(f, grid, a, b, eps=EPS, validate=False), given
    )


def test_a_weight_that_is_no_number_stays_so():
    found = to_product_convention(np.ones(3), np.asarray([np.nan, 0.0, 1.0]), eps=1.0)
    np.testing.assert_array_equal(found, [np.nan, 0.0, 1.0])


@pytest.mark.slow
def test_libraries_agree(library, rng):
    for shape in library.batches:
        cost, a, b = problem(rng, batch=shape)
        f = 0.2 * rng.normal(size=6)
        library.check(lambda *x: semidual_value_and_gradient(*x, eps=EPS), f, cost, a, b, ulps=300)
