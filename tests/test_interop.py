"""Converters to the conventions of other libraries, held against the libraries where they are installed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm import interop
from refwfm.transport.sinkhorn import dual_value, plan, sinkhorn, sq_euclidean_cost

EPS = 0.5
TIGHT = {"tol": 1e-13, "max_iter": 100_000}


def problem(seed=0, eps=EPS):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(4, 2)), rng.normal(size=(5, 2))
    a, b = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(5))
    cost = sq_euclidean_cost(x, y)
    return x, y, a, b, cost, sinkhorn(cost, a, b, eps=eps, **TIGHT)


def without_constant(f, a):
    return f - (f * a).sum()


def test_pot_has_these_potentials_plan_and_values():
    ot = pytest.importorskip("ot")
    _, _, a, b, cost, ours = problem()
    theirs, log = ot.sinkhorn(
        a, b, cost, EPS, method="sinkhorn_log", log=True, stopThr=1e-13, numItermax=10**5
    )
    f, g = interop.from_pot(log["log_u"], log["log_v"], a, b, eps=EPS)
    np.testing.assert_allclose(without_constant(f, a), without_constant(ours.f, a), atol=1e-9)
    np.testing.assert_allclose(f[:, None] + g, ours.f[:, None] + ours.g, atol=1e-9)
    np.testing.assert_allclose(plan(cost, a, b, ours), theirs, atol=1e-12)
    value = dual_value(cost, a, b, ours)
    solve = {"reg": EPS, "tol": 1e-13, "max_iter": 10**5}
    np.testing.assert_allclose(ot.solve(cost, a, b, reg_type="KL", **solve).value, value, rtol=1e-10)
    np.testing.assert_allclose(
        ot.solve(cost, a, b, reg_type="entropy", **solve).value,
        interop.entropy_value(value, a, b, eps=EPS),
        rtol=1e-10,
    )


def test_pot_starts_at_ours_and_is_done():
    ot = pytest.importorskip("ot")
    _, _, a, b, cost, ours = problem()
    start = interop.to_pot(ours.f, ours.g, a, b, eps=EPS)
    _, log = ot.sinkhorn(a, b, cost, EPS, method="sinkhorn_log", log=True, warmstart=start, stopThr=1e-9)
    _, cold = ot.sinkhorn(a, b, cost, EPS, method="sinkhorn_log", log=True, stopThr=1e-9)
    assert log["niter"] < cold["niter"]
    assert log["niter"] == 0
    np.testing.assert_allclose(  # scalings whose logarithms these are
        np.exp(start[0])[:, None] * np.exp(-cost / EPS) * np.exp(start[1]), plan(cost, a, b, ours), atol=1e-12
    )


def test_ott_has_these_potentials_plan_and_values():
    jax = pytest.importorskip("jax")
    pytest.importorskip("ott")
    from ott.geometry.pointcloud import PointCloud
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    x, y, a, b, cost, ours = problem()
    with jax.enable_x64(True):
        given = [jax.numpy.asarray(each) for each in (x, y, a, b)]
        asked = LinearProblem(PointCloud(given[0], given[1], epsilon=EPS), given[2], given[3])
        theirs = Sinkhorn(threshold=1e-12, max_iterations=10**5)(asked)
        start = [jax.numpy.asarray(each) for each in interop.to_ott(ours.f, ours.g, a, b, eps=EPS)]
        again = Sinkhorn(threshold=1e-9, max_iterations=10**5)(asked, init=tuple(start))
        f, g = interop.from_ott(np.asarray(theirs.f), np.asarray(theirs.g), a, b, eps=EPS)
        value = float(dual_value(cost, a, b, ours))
        np.testing.assert_allclose(f[:, None] + g, ours.f[:, None] + ours.g, atol=1e-8)
        np.testing.assert_allclose(np.asarray(theirs.matrix), plan(cost, a, b, ours), atol=1e-11)
        np.testing.assert_allclose(float(theirs.reg_ot_cost), value, rtol=1e-9)
        np.testing.assert_allclose(
            float(theirs.ent_reg_cost), interop.entropy_value(np.asarray(value), a, b, eps=EPS), rtol=1e-9
        )
        assert int(again.n_iters) < int(theirs.n_iters)


def test_geomloss_has_these_potentials_and_value():
    torch = pytest.importorskip("torch")
    geomloss = pytest.importorskip("geomloss")
    x, y, a, b, cost, ours = problem()
    f, g, blur = interop.to_geomloss(ours.f, ours.g, eps=EPS)
    asked = [torch.as_tensor(each) for each in (a, x, b, y)]
    options = {"p": 2, "blur": blur, "debias": False, "scaling": 0.999, "backend": "tensorized"}
    theirs = geomloss.SamplesLoss("sinkhorn", potentials=True, **options)(*asked)
    F, G = (each.numpy().reshape(-1) for each in theirs)
    np.testing.assert_allclose(F[:, None] + G, f[:, None] + g, atol=1e-3)  # it stops where its annealing ends
    assert np.abs(F[:, None] + G - ours.f[:, None] - ours.g).max() > 0.1
    value = geomloss.SamplesLoss("sinkhorn", **options)(*asked).item()
    np.testing.assert_allclose(value, dual_value(cost, a, b, ours) / 2, rtol=1e-6)


# Laws


@given(seed=st.integers(0, 10**6), eps=st.floats(1e-3, 1e3), empty=st.booleans())
def test_there_and_back(seed, eps, empty):
    rng = np.random.default_rng(seed)
    f, g, a, b = rng.normal(size=4), rng.normal(size=3), rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(3))
    if empty:
        a[1] = 0.0
    expected = np.where(a == 0, 0.0, f)
    scale = 1e-13 * (1 + eps * abs(np.log(a[a > 0])).max() + eps * abs(np.log(b)).max())
    for to, back in ((interop.to_pot, interop.from_pot), (interop.to_ott, interop.from_ott)):
        there = to(f, g, a, b, eps=eps)
        assert np.isneginf(there[0][a == 0]).all()
        again = back(*there, a, b, eps=eps)
        np.testing.assert_allclose(again[0], expected, atol=scale)
        np.testing.assert_allclose(again[1], g, atol=scale)
    *halves, blur = interop.to_geomloss(f, g, eps=eps)
    f_again, g_again, eps_again = interop.from_geomloss(*halves, blur=blur)
    np.testing.assert_array_equal(f_again, f)
    np.testing.assert_array_equal(g_again, g)
    assert eps_again == pytest.approx(eps, rel=1e-15)


def test_nan_stays_nan():
    half = np.full(2, 0.5)
    broken = np.array([np.nan, 0.0])
    for convert in (interop.to_pot, interop.from_pot, interop.to_ott, interop.from_ott):
        assert np.isnan(convert(broken, half, half, half, eps=1.0)[0][0])
        assert np.isnan(convert(half, half, broken, half, eps=1.0)[0][0])
    assert np.isnan(interop.entropy_value(np.asarray(1.0), broken, half, eps=1.0))


@pytest.mark.parametrize("eps", [0.0, -1.0, np.inf, np.nan, "1"])
def test_eps_is_positive(eps):
    half = np.full(2, 0.5)
    for convert in (interop.to_pot, interop.from_pot, interop.to_ott, interop.from_ott):
        with pytest.raises(ValueError, match="eps must be a positive, finite number; got"):
            convert(half, half, half, half, eps=eps)
    with pytest.raises(ValueError, match="blur must be"):
        interop.from_geomloss(half, half, blur=eps)


def test_libraries_are_not_mixed():
    half = np.full(2, 0.5)
    with pytest.raises(TypeError):
        interop.to_ott(half, [0.5, 0.5], half, half, eps=1.0)
    with pytest.raises((TypeError, ValueError), match="float"):
        interop.to_ott(half, half, half, half.astype(np.float32), eps=1.0)
