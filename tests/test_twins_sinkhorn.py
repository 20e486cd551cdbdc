"""The NumPy twin of Sinkhorn against the reference: values, plans, evidence, hard cases."""

import importlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refwfm.backends import _numpy_sinkhorn as twin
from refwfm.clouds import pad, uniform
from refwfm.evidence import ConvergenceError
from refwfm.transport import sinkhorn as reference
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.sinkhorn import dual_value, plan, sq_euclidean_cost, transport_cost
from refwfm.validation.bench import sinkhorn as bench_sinkhorn

DTYPES = [np.float32, np.float64]


@pytest.fixture(autouse=True, params=[1, 2], ids=["one core", "two cores"])
def _pieces(request, monkeypatch):
    """Small problems are not left to the reference, and cut into pieces as large ones are."""
    monkeypatch.setattr(twin, "SMALL", 0)
    monkeypatch.setattr(twin, "PARALLEL", 0)
    monkeypatch.setattr(twin, "BLOCK", 200)
    monkeypatch.setattr(twin, "_n_threads", lambda: request.param)


def problem(rng, n=40, m=50, d=3, dtype=np.float64):
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.5
    weights = (rng.dirichlet(np.full(k, 5.0)) for k in (n, m))
    return tuple(v.astype(dtype) for v in (sq_euclidean_cost(x, y), *weights))


def true_errors(cost, a, b, s):
    solution = s._replace(f=s.f.astype(float), g=s.g.astype(float), eps=s.eps.astype(float))
    P = plan(*(v.astype(float) for v in (cost, a, b)), solution)
    return np.sum(np.abs(P.sum(-1) - a), axis=-1), np.sum(np.abs(P.sum(-2) - b), axis=-1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", [0.02, 0.1, 1.0, 1e3])
def test_plan_and_values_are_the_references(rng, dtype, eps):
    arrays = problem(rng, dtype=dtype)
    tol = 1e-8 if dtype == np.float64 else 1e-4
    options = {"eps": eps, "scale_cost": "max", "tol": tol, "max_iter": 100_000}
    ours, truth = twin.sinkhorn(*arrays, **options), reference.sinkhorn(*arrays, **options)
    assert ours.f.dtype == ours.g.dtype == ours.row_error.dtype == dtype
    assert ours.converged
    assert ours.eps == truth.eps
    amplified = 1e4 * tol  # the distance to the fixed point is the error over the spectral gap
    assert np.sum(np.abs(plan(*arrays, ours) - plan(*arrays, truth))) < amplified
    for value in (transport_cost, dual_value):
        assert value(*arrays, ours) == pytest.approx(float(value(*arrays, truth)), abs=amplified)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", [False, True])
def test_a_fixed_number_of_iterations_gives_the_references_iterates(rng, dtype, start):
    arrays = problem(rng, dtype=dtype)
    f = rng.normal(size=40).astype(dtype) if start else None
    for n_iter in (1, 2, 17, 200):
        options = {"eps": 0.005, "tol": None, "max_iter": n_iter, "f_init": f}
        ours, truth = twin.sinkhorn(*arrays, **options), reference.sinkhorn(*arrays, **options)
        assert ours.n_iter == n_iter
        allowed = 3e4 * np.finfo(dtype).eps  # 15 units of cost, a thousand roundings
        np.testing.assert_allclose(ours.f, truth.f, rtol=0, atol=allowed)
        np.testing.assert_allclose(ours.g, truth.g, rtol=0, atol=allowed)
        assert ours.converged == truth.converged


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", [0.004, 0.05])
def test_evidence_is_the_truth(rng, dtype, eps):
    arrays = problem(rng, dtype=dtype)
    options = {"eps": eps, "scale_cost": "max"}
    ours = twin.sinkhorn(*arrays, **options, tol=1e-3)
    assert ours.converged
    for claimed, true in zip((ours.row_error, ours.col_error), true_errors(*arrays, ours), strict=True):
        assert claimed <= 1e-3
        assert claimed == pytest.approx(true, abs=2e-4 if dtype == np.float32 else 1e-12)
    for max_iter in (1, 7):
        fewer = twin.sinkhorn(*arrays, **options, tol=1e-6, max_iter=max_iter, require=False)
        assert not fewer.converged
        assert fewer.n_iter == max_iter
        assert max(fewer.row_error, fewer.col_error) == pytest.approx(
            max(true_errors(*arrays, fewer)), rel=1e-2
        )
    with pytest.raises(ConvergenceError, match="no convergence in 7 iterations"):
        twin.sinkhorn(*arrays, **options, tol=1e-6, max_iter=7)


@pytest.mark.parametrize("eps", [1e-4, 1e-2, 1.0, 1e4, 1e30, math.inf])
def test_float32_neither_overflows_nor_fools(rng, eps):
    arrays = problem(rng, dtype=np.float32)
    ours = twin.sinkhorn(*arrays, eps=eps, scale_cost="max", tol=1e-3, require=False, max_iter=1000)
    assert np.isfinite(ours.f).all()
    assert np.isfinite(ours.g).all()
    assert max(true_errors(*arrays, ours)) < 2e-3 if ours.converged else eps < 1e-2


def test_far_clouds_with_a_tiny_eps(rng):
    """From f = 0 the potentials move by thousands of eps: the kernel is left again and again."""
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) * [5.0, 0.2] + 30.0
    u = np.full(60, 1 / 60)
    arrays = sq_euclidean_cost(x, y), u, u
    ours = twin.sinkhorn(*arrays, eps=0.1, tol=1e-3)
    assert max(true_errors(*arrays, ours)) <= 1.01e-3
    single = [v.astype(np.float32) for v in arrays]
    told = twin.sinkhorn(*single, eps=0.1, tol=1e-2, max_iter=2000, require=False)
    assert np.isfinite(told.f).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_and_sizes(rng, dtype):
    xs, ys = ([rng.normal(size=(n, 2)) for n in counts] for counts in ((1, 14, 9, 1), (17, 2, 13, 1)))
    x, y = pad(xs), pad(ys)
    cost = sq_euclidean_cost(x.points, y.points)
    cost = np.where(x.weights[..., None] * y.weights[:, None, :] > 0, cost, np.nan)
    arrays = [v.astype(dtype) for v in (cost, x.weights, y.weights)]
    options = {"eps": 0.3, "scale_cost": "mean", "tol": None, "max_iter": 30}
    ours, truth = twin.sinkhorn(*arrays, **options), reference.sinkhorn(*arrays, **options)
    live = x.weights > 0, y.weights > 0
    for mine, theirs, real in zip(ours[:2], truth[:2], live, strict=True):
        np.testing.assert_allclose(mine[real], theirs[real], atol=3e4 * np.finfo(dtype).eps)
        np.testing.assert_array_equal(mine[~real], 0.0)
    np.testing.assert_allclose(plan(*arrays, ours), plan(*arrays, truth), atol=3e4 * np.finfo(dtype).eps)
    assert not plan(*arrays, ours)[0, 1:].any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", [0, 5])
def test_an_atom_far_from_all_others_is_transported_like_them(rng, dtype, padding):
    """Beside padding, whose cost is 0, its row of the kernel was 0, and no mass left it."""
    x, y, u = rng.normal(size=(30, 2)), rng.normal(size=(30, 2)), np.full(30, 1 / 30)
    x[3] = [300.0, 0.0]
    cost = np.pad(sq_euclidean_cost(x, y), (0, padding))
    arrays = [v.astype(dtype) for v in (cost, *[np.pad(u, (0, padding))] * 2)]
    options = {"eps": 1.0, "tol": None, "max_iter": 50}
    ours, truth = twin.sinkhorn(*arrays, **options), reference.sinkhorn(*arrays, **options)
    assert 30 * plan(*arrays, ours)[3].sum() == pytest.approx(1.0, abs=0.03 if dtype == np.float32 else 1e-9)
    np.testing.assert_allclose(plan(*arrays, ours), plan(*arrays, truth), atol=5e3 * np.finfo(dtype).eps)


def test_a_far_pair_of_a_batch_does_not_touch_the_others(rng):
    """A pair is solved alone: its answer is the same beside one that is large, far away, or not finite."""
    cost, a, b = problem(rng)
    alone = twin.sinkhorn(cost, a, b, eps=0.5)
    for other in (1e30 * cost, np.where(cost > 3.0, np.nan, cost)):
        options = {"require": False, "validate": False, "max_iter": 300}
        batch = twin.sinkhorn(np.stack([cost, other]), a, b, eps=0.5, **options)
        np.testing.assert_allclose(batch.f[0], alone.f, atol=1e-12)
        np.testing.assert_array_equal(batch.converged, [True, False])


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (0,)])
def test_batches(rng, shape):
    cost = rng.uniform(size=(*shape, 12, 9))
    a, b = np.full(12, 1 / 12), rng.dirichlet(np.ones(9), size=shape)
    start = rng.normal(size=12)
    for array in (cost, a, b, start):
        array.flags.writeable = False
    ours = twin.sinkhorn(cost, a, b, eps=0.1, f_init=start)
    assert ours.f.shape == (*shape, 12)
    assert ours.g.shape == (*shape, 9)
    assert ours.eps.shape == ours.row_error.shape == ours.col_error.shape == ours.converged.shape == shape
    for i in np.ndindex(shape):
        alone = twin.sinkhorn(cost[i], a, b[i], eps=0.1, f_init=start)
        np.testing.assert_allclose(plan(cost[i], a, b[i], alone), plan(cost, a, b, ours)[i], atol=2e-3)


def test_shared_cost_and_an_eps_for_each_pair(rng):
    cost, a, b = problem(rng)
    eps = np.array([0.3, 3.0, math.inf])
    ours = twin.sinkhorn(cost, a, b, eps=eps, tol=1e-8, max_iter=20_000)
    np.testing.assert_allclose(plan(cost, a, b, ours)[2], np.outer(a, b), rtol=1e-8)
    ours = twin.sinkhorn(cost, a, b, eps=eps[:2], tol=1e-8, max_iter=20_000)
    truth = reference.sinkhorn(cost, a, b, eps=eps[:2], tol=1e-8, max_iter=20_000)
    np.testing.assert_allclose(plan(cost, a, b, ours), plan(cost, a, b, truth), atol=1e-6)


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.floats(-1.5, 2.0),
    st.integers(0, 2**32 - 1),
    st.sampled_from(DTYPES),
)
def test_any_problem_ends_with_its_marginals(n, m, exponent, seed, dtype):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, 2)), rng.normal(size=(m, 2)) * 10.0 ** rng.uniform(-2, 1)
    x[n // 2 :] = x[0]
    weights = (rng.dirichlet(np.full(k, 0.7)).astype(dtype) for k in (n, m))
    arrays = sq_euclidean_cost(x, y).astype(dtype), *weights
    tol = 1e-3 if dtype == np.float32 else 1e-6
    options = {"scale_cost": "max", "tol": tol, "max_iter": 2000, "require": False}
    ours = twin.sinkhorn(*arrays, eps=10.0**exponent, **options)
    assert ours.converged
    assert max(true_errors(*arrays, ours)) < 2 * tol
    truth = reference.sinkhorn(*arrays, eps=10.0**exponent, **options)
    if truth.converged:
        assert np.sum(np.abs(plan(*arrays, ours) - plan(*arrays, truth))) < 0.1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"eps": 0.0}, ValueError, "eps must be positive"),
        ({"tol": -1.0}, ValueError, "tol must be positive, or None"),
        ({"max_iter": 0}, ValueError, "max_iter must be an integer of at least 1"),
        ({"f_init": np.zeros(3)}, ValueError, "f_init must have shape"),
        ({"scale_cost": "largest"}, ValueError, "scale_cost must be None"),
    ],
)
def test_bad_options_are_refused(rng, change, error, message):
    with pytest.raises(error, match=message):
        twin.sinkhorn(*problem(rng), **{"eps": 0.1, **change})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_fools_elsewhere(rng, bad):
    cost, a, b = problem(rng)
    with pytest.raises(ValueError, match="b must be non-negative with mass 1"):
        twin.sinkhorn(cost, a, 0.9 * b, eps=0.1)
    cost[3, 4] = bad
    with pytest.raises(ValueError, match="cost must be finite"):
        twin.sinkhorn(cost, a, b, eps=0.1)
    cost[3, 4] = np.nan
    told = twin.sinkhorn(cost, a, b, eps=0.1, validate=False, require=False, max_iter=20)
    assert not told.converged
    with pytest.raises(ConvergenceError, match="not finite"):
        twin.sinkhorn(cost, a, b, eps=0.1, validate=False, max_iter=20)


def test_far_fewer_iterations_than_the_reference(rng):
    x, y = uniform(bench_sinkhorn.ellipsoid(rng, 200)), uniform(bench_sinkhorn.box(rng, 200))
    arrays = sq_euclidean_cost(x.points, y.points), x.weights, y.weights
    options = {"eps": 0.002, "f_init": gaussian_potential(x, y)}
    assert 5 * twin.sinkhorn(*arrays, **options).n_iter < reference.sinkhorn(*arrays, **options).n_iter


def test_small_problems_are_the_references(rng, monkeypatch):
    arrays = problem(rng, 8, 9)
    monkeypatch.setattr(twin, "SMALL", 100)
    ours, truth = (f(*arrays, eps=0.5) for f in (twin.sinkhorn, reference.sinkhorn))
    np.testing.assert_array_equal(ours.f, truth.f)
    assert ours.n_iter == truth.n_iter


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (0,)])
def test_torch_on_the_cpu(rng, dtype, shape):
    torch = pytest.importorskip("torch")
    torch_twin = importlib.import_module("refwfm.backends._torch_sinkhorn")
    host = rng.uniform(size=(*shape, 12, 9)), np.full(12, 1 / 12), rng.dirichlet(np.ones(9), size=shape)
    arrays = [torch.asarray(v).to(getattr(torch, dtype)) for v in host]
    options = {"eps": arrays[0].new_tensor(0.02), "f_init": arrays[0].new_zeros(12), "scale_cost": "max"}
    ours, truth = (f(*arrays, **options) for f in (torch_twin.sinkhorn, reference.sinkhorn))
    for name, value in truth._asdict().items():
        mine = getattr(ours, name)
        if name != "n_iter":
            assert (mine.dtype, mine.shape, mine.device) == (value.dtype, value.shape, value.device), name
    assert bool(torch.all(ours.converged))
    assert float((plan(*arrays, ours) - plan(*arrays, truth)).abs().sum()) < 0.05
    fixed = {**options, "tol": None, "max_iter": 20}
    ours, truth = (f(*arrays, **fixed).f for f in (torch_twin.sinkhorn, reference.sinkhorn))
    torch.testing.assert_close(ours, truth, rtol=0, atol=3e3 * torch.finfo(ours.dtype).eps)


def test_torch_keeps_track_of_gradients(rng):
    torch = pytest.importorskip("torch")
    torch_twin = importlib.import_module("refwfm.backends._torch_sinkhorn")
    arrays = [torch.asarray(v) for v in problem(rng)]
    arrays[0].requires_grad_()
    assert torch_twin.sinkhorn(*arrays, eps=1.0, tol=None, max_iter=3).f.requires_grad
    with torch.no_grad():
        assert not torch_twin.sinkhorn(*arrays, eps=1.0).f.requires_grad
