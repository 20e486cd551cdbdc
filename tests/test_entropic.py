"""Entropic maps and the Sinkhorn divergence: POT, differences, closed forms, and properties."""

import math
from fractions import Fraction

import numpy as np
import oracles
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from oracles import derivative, relative

from refwfm._array import to_host
from refwfm.clouds import moments, pad, uniform
from refwfm.evidence import ConvergenceError
from refwfm.measures import PointCloud
from refwfm.transport.entropic import (
    barycentric_projection,
    debiased_entropic_map,
    entropic_map,
    epsilon_schedule,
    extend_potential,
    sinkhorn_divergence,
)
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.sinkhorn import plan, sinkhorn, sq_euclidean_cost

TIGHT = {"tol": 1e-12, "max_iter": 100_000}


def cloud(rng, n, d=3, shift=0.0):
    return PointCloud(rng.normal(size=(n, d)) + shift, rng.dirichlet(np.full(n, 5.0)))


def solve(x, y, eps, **options):
    K = sq_euclidean_cost(x.points, y.points)
    return K, sinkhorn(K, x.weights, y.weights, eps=eps, **{**TIGHT, **options})


@pytest.fixture
def pair(rng):
    return cloud(rng, 10), cloud(rng, 14, shift=0.5)


# Potentials and maps at any point


def test_extension_is_the_potential_on_the_atoms(pair):
    x, y = pair
    _, s = solve(x, y, 0.3)
    np.testing.assert_allclose(extend_potential(x.points, *y, s.g, eps=s.eps), s.f, atol=1e-10)
    np.testing.assert_allclose(extend_potential(y.points, *x, s.f, eps=0.3), s.g, atol=1e-10)
    # as printed, with uniform weights beside potentials in the Gibbs form: off by eps log(n m)
    gibbs = s.g + s.eps * np.log(y.weights)
    assert np.max(np.abs(extend_potential(x.points, *y, gibbs, eps=s.eps) - s.f)) > 0.1


def test_map_is_the_gradient_of_the_potential(pair, rng):
    x, y = pair
    _, s = solve(x, y, 0.3)
    point = rng.normal(size=(1, 3))
    gradient = np.array(
        [derivative(lambda h, e=e: extend_potential(point + h * e, *y, s.g, eps=0.3)[0]) for e in np.eye(3)]
    )
    image = entropic_map(point, *y, s.g, eps=0.3)[0]
    assert relative(image, point[0] - 0.5 * gradient) < 1e-7
    assert relative(point[0] - gradient, image) > 0.1  # as printed


def test_map_on_the_sample_is_the_projection_of_the_plan(pair):
    x, y = pair
    K, s = solve(x, y, 0.2)
    P = plan(K, x.weights, y.weights, s)
    truth = np.array([np.average(y.points, axis=0, weights=row) for row in P])
    np.testing.assert_allclose(entropic_map(x.points, *y, s.g, eps=0.2), truth, atol=1e-10)
    np.testing.assert_allclose(barycentric_projection(P, y.points), truth, atol=1e-12)
    same = np.full(14, 1 / 14)
    assert relative(entropic_map(x.points, y.points, same, s.g, eps=0.2), truth) > 0.01  # without the weights
    assert relative(P @ y.points, truth) > 0.1  # without the division


def test_jacobian_is_the_conditional_covariance(pair, rng):
    x, y = pair
    _, s = solve(x, y, 0.3)
    point = rng.normal(size=(1, 3))
    jacobian = np.stack(
        [derivative(lambda h, e=e: entropic_map(point + h * e, *y, s.g, eps=0.3)[0]) for e in np.eye(3)]
    )
    shares = y.weights * np.exp((s.g - np.sum((y.points - point) ** 2, axis=-1)) / 0.3)
    cov = np.cov(y.points.T, aweights=shares, ddof=0)
    assert relative(jacobian, 2 / 0.3 * cov) < 1e-6
    assert relative(cov / 0.3, jacobian) > 0.1  # the factor of the cost |x - y|² / 2


def test_gaussian_map_in_closed_form():
    m0, v0, m1, v1, eps = 0.3, 0.5, -0.4, 1.4, 0.6
    grid = np.linspace(-11, 11, 401)[:, None]
    x, y = (uniform(grid)._replace(weights=w) for w in (density(grid, m0, v0), density(grid, m1, v1)))
    _, s = solve(x, y, eps)
    slope = (math.sqrt(4 * v0 * v1 + eps**2 / 4) - eps / 2) / (2 * v0)
    points = np.linspace(-1, 1, 7)[:, None]
    truth = m1 + slope * (points - m0)
    assert relative(entropic_map(points, *y, s.g, eps=eps), truth) < 1e-9
    assert abs(slope - math.sqrt(v1 / v0)) > 0.1  # negative control: without regularisation
    # the debiased map: the slope that x has onto itself is taken off, one is added
    own = (math.sqrt(4 * v0**2 + eps**2 / 4) - eps / 2) / (2 * v0)
    _, xx = solve(x, x, eps)
    debiased = debiased_entropic_map(points, x, y, s.g, xx.g, eps=eps)
    assert relative(debiased, points + truth - (m0 + own * (points - m0))) < 1e-9


def density(grid, mean, variance):
    values = np.exp(-((grid[:, 0] - mean) ** 2) / (2 * variance))
    return values / values.sum()


def test_debiased_map_is_a_gradient_and_leaves_a_cloud_where_it_is(pair, rng):
    x, y = pair
    xy, xx = sinkhorn_divergence(x, y, eps=0.3, **TIGHT)[1:3]
    point = rng.normal(size=(1, 3))

    def difference(p):
        return extend_potential(p, *y, xy.g, eps=0.3)[0] - extend_potential(p, *x, xx.g, eps=0.3)[0]

    gradient = np.array([derivative(lambda h, e=e: difference(point + h * e)) for e in np.eye(3)])
    image = debiased_entropic_map(point, x, y, xy.g, xx.g, eps=0.3)[0]
    assert relative(image, point[0] - 0.5 * gradient) < 1e-7
    own = debiased_entropic_map(x.points, x, x, xx.g, xx.g, eps=0.3)
    np.testing.assert_allclose(own, x.points, atol=1e-12)
    assert relative(entropic_map(x.points, *x, xx.g, eps=0.3), x.points) > 1e-3  # the biased one moves it


def test_map_between_its_limits(rng):
    x, y = uniform(rng.normal(size=(7, 2))), uniform(rng.normal(size=(7, 2)))
    f = None
    for eps in (1.0, 0.1, 0.02, 0.005):
        K, s = solve(x, y, eps, f_init=f, tol=1e-6)
        f = s.f
    perm = scipy.optimize.linear_sum_assignment(K)[1]
    np.testing.assert_allclose(entropic_map(x.points, *y, s.g, eps=0.005), y.points[perm], atol=1e-3)
    _, s = solve(x, y, math.inf)
    centre = np.broadcast_to(y.points.mean(axis=0), (7, 2))
    for eps in (math.inf, s.eps):
        np.testing.assert_allclose(entropic_map(x.points, *y, s.g, eps=eps), centre, atol=1e-14)


def test_one_target_atom_attracts_everything(rng):
    x, y = cloud(rng, 5), uniform(np.array([[1.0, 2.0, 3.0]]))
    _, s = solve(x, y, 0.1)
    np.testing.assert_allclose(entropic_map(x.points, *y, s.g, eps=0.1), np.repeat(y.points, 5, axis=0))


def test_padding_has_no_influence(rng):
    targets = [rng.normal(size=(n, 2)) for n in (3, 6)]
    x, y = uniform(rng.normal(size=(2, 5, 2))), pad(targets)
    _, s = solve(x, y, 0.4, tol=None, max_iter=30)
    y.points[0, 3:] = np.nan
    images = entropic_map(x.points, *y, s.g, eps=s.eps)
    potentials = extend_potential(x.points, *y, s.g, eps=s.eps)
    projected = barycentric_projection(
        plan(sq_euclidean_cost(x.points, y.points), x.weights, y.weights, s), y.points
    )
    for i, target in enumerate(targets):
        alone = target, uniform(target).weights, s.g[i, : len(target)]
        np.testing.assert_allclose(images[i], entropic_map(x.points[i], *alone, eps=0.4), atol=1e-13)
        np.testing.assert_allclose(potentials[i], extend_potential(x.points[i], *alone, eps=0.4), atol=1e-13)
    np.testing.assert_allclose(projected, images, atol=1e-12)


def test_rows_without_mass_are_projected_to_zero():
    P = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]])
    y = np.array([[1.0], [3.0], [np.nan]])
    np.testing.assert_array_equal(barycentric_projection(P, y), [[2.0], [0.0]])


# The schedule


def test_schedule_balances_the_bound():
    """Exponents of n in ``n^(-1/2) eps^(-d/2)`` and ``eps²``, as fractions."""
    for d in range(1, 11):
        e = Fraction(-1, d + 4)
        assert epsilon_schedule(1000, d, 2.0) == pytest.approx(2.0 * 1000.0 ** float(e), rel=1e-14)
        assert Fraction(-1, 2) - Fraction(d, 2) * e == 2 * e == Fraction(-2, d + 4)
        assert Fraction(-1, 2) - (Fraction(d, 2) + 1) * e != 2 * e  # as printed


@pytest.mark.slow
@pytest.mark.parametrize("d", [1, 2])
def test_map_gets_better_along_the_schedule(d):
    """Uniform law to an affine image of it: mean squared error over ten draws, with its standard error."""
    matrix, shift, means, spreads = np.array([[1.5, 0.3], [0.3, 0.7]])[:d, :d], 0.5, [], []
    for n in (32, 128, 512):
        eps, errors = epsilon_schedule(n, d, 0.1), []
        for seed in range(10):
            rng = np.random.default_rng([seed, n])
            x, y, fresh = (rng.uniform(size=(k, d)) for k in (n, n, 500))
            x, y = uniform(x), uniform(y @ matrix + shift)
            _, s = solve(x, y, eps, tol=1e-3, f_init=gaussian_potential(x, y))
            gap = entropic_map(fresh, *y, s.g, eps=eps) - (fresh @ matrix + shift)
            errors.append(np.mean(np.sum(gap**2, axis=-1)))
        means.append(np.mean(errors))
        spreads.append(np.std(errors, ddof=1) / 10**0.5)
    for k in (0, 1):
        assert means[k] - means[k + 1] > spreads[k] + spreads[k + 1], (means, spreads)


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (1, 1, 0.0), (1, 1, math.nan)])
def test_schedule_refuses(arguments):
    with pytest.raises(ValueError, match=r"(n|d) must be an integer of at least 1|scale must be positive"):
        epsilon_schedule(*arguments)


# Divergence


def test_divergence_is_pots(rng):
    ot = pytest.importorskip("ot")
    x, y = cloud(rng, 6), cloud(rng, 8, shift=0.5)
    eps, options = 2.0, {"method": "sinkhorn_log", "stopThr": 1e-12, "numItermax": 100_000}

    def entropic(u, v):
        K = np.sum((u.points[:, None] - v.points) ** 2, axis=-1)
        P = ot.sinkhorn(u.weights, v.weights, K, eps, **options)
        return np.sum(P * K) + eps * np.sum(P * np.log(P / np.outer(u.weights, v.weights)))

    truth = entropic(x, y) - 0.5 * entropic(x, x) - 0.5 * entropic(y, y)
    ours = sinkhorn_divergence(x, y, eps=eps, **TIGHT)
    assert ours.value == pytest.approx(truth, rel=1e-8)
    # negative control: the y-y term computed from x, a mistake of published code
    assert abs(entropic(x, y) - entropic(x, x) - truth) > 0.01


def test_transport_of_a_cloud_to_itself_is_quick(rng):
    """Sinkhorn's own updates need more than 10,000 iterations for this cloud and eps."""
    x = cloud(rng, 30)
    ours = sinkhorn_divergence(x, x, eps=0.05, tol=1e-9, max_iter=10_000, require=False)
    assert not ours.xy.converged
    assert ours.xx.converged
    assert ours.xx.n_iter == 1


def test_divergence_uses_one_eps_for_all_three(pair):
    x, y = pair
    ours = sinkhorn_divergence(x, y, eps=0.05, scale_cost="max")
    eps = 0.05 * np.max(sq_euclidean_cost(x.points, y.points))
    assert ours.xy.eps == ours.xx.eps == ours.yy.eps == pytest.approx(eps)
    assert ours.yy.g.shape == (14,)
    with pytest.raises(ConvergenceError):
        sinkhorn_divergence(x, y, eps=0.001, max_iter=3)
    assert not sinkhorn_divergence(x, y, eps=0.001, max_iter=3, require=False).xy.converged


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.0, 1.5), st.integers(0, 2**32 - 1))
def test_divergence_is_not_negative_and_zero_for_equal_clouds(n, m, exponent, seed):
    rng = np.random.default_rng(seed)
    x, y = cloud(rng, n, 2), cloud(rng, m, 2)
    options = {"eps": 10.0**exponent, "tol": 1e-9, "max_iter": 100_000}
    value = sinkhorn_divergence(x, y, **options).value
    assert value >= -1e-8
    assert sinkhorn_divergence(y, x, **options).value == pytest.approx(value, abs=1e-7)
    order = rng.permutation(n)
    same = PointCloud(x.points[order], x.weights[order])
    assert sinkhorn_divergence(x, same, **options).value == pytest.approx(0.0, abs=1e-7)


def test_divergence_between_its_limits(rng):
    x, y = uniform(rng.normal(size=(8, 2))), uniform(rng.normal(size=(8, 2)) + 1.0)
    far = sinkhorn_divergence(x, y, eps=math.inf).value
    assert far == pytest.approx(np.sum((x.points.mean(0) - y.points.mean(0)) ** 2), rel=1e-12)
    K = sq_euclidean_cost(x.points, y.points)
    exact = K[scipy.optimize.linear_sum_assignment(K)].mean()
    near = sinkhorn_divergence(x, y, eps=0.03, tol=1e-3).value
    assert near == pytest.approx(exact, rel=2e-2)


# Properties of the map


@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.3, 1.5), st.integers(0, 2**32 - 1))
def test_map_moves_with_the_clouds(n, m, exponent, seed):
    """Translations of each cloud, a joint rotation, a scaling with ``eps → s² eps``; order of the atoms."""
    rng, eps = np.random.default_rng(seed), 10.0**exponent
    x, y, points = cloud(rng, n), cloud(rng, m), rng.normal(size=(5, 3))

    def image(x, y, points, eps=eps):
        _, s = solve(x, y, eps, tol=1e-11)
        return entropic_map(points, *y, s.g, eps=eps)

    base = image(x, y, points)
    assert np.all(base <= y.points.max(axis=0) + 1e-12)
    p, q, Q = rng.normal(size=3), rng.normal(size=3), oracles.rotation(rng, 3)
    order = rng.permutation(m)
    moved, aside = x._replace(points=x.points + p), y._replace(points=y.points + q)
    np.testing.assert_allclose(image(moved, aside, points + p), base + q, atol=1e-6)
    turned = [c._replace(points=c.points @ Q) for c in (x, y)]
    np.testing.assert_allclose(image(*turned, points @ Q), base @ Q, atol=1e-6)
    scaled = [c._replace(points=3.0 * c.points) for c in (x, y)]
    np.testing.assert_allclose(image(*scaled, 3.0 * points, 9.0 * eps), 3.0 * base, atol=1e-6)
    shuffled = PointCloud(y.points[order], y.weights[order])
    np.testing.assert_allclose(image(x, shuffled, points), base, atol=1e-6)
    steps, images = points[:, None] - points, base[:, None] - base
    assert np.min(np.sum(steps * images, axis=-1)) > -1e-9  # monotone


def test_map_shrinks_the_cloud_by_the_conditional_covariance(pair):
    """``Cov(T(X)) = Cov(Y) - E Cov(Y | X)``: why clouds shrink along the entropic map."""
    x, y = pair
    K, s = solve(x, y, 0.5)
    P = plan(K, x.weights, y.weights, s)
    images = entropic_map(x.points, *y, s.g, eps=0.5)
    within = sum(a * np.cov(y.points.T, aweights=row, ddof=0) for a, row in zip(x.weights, P, strict=True))
    truth = moments(*y).cov - within
    assert relative(moments(images, x.weights).cov, truth) < 1e-9
    assert relative(truth, moments(*y).cov) > 0.05


def test_splitting_an_atom_changes_nothing(pair, rng):
    x, y = pair
    points = rng.normal(size=(4, 3))
    twice = PointCloud(
        np.concatenate([y.points, y.points[:1]]), np.concatenate([y.weights, 0.3 * y.weights[:1]])
    )
    twice.weights[0] *= 0.7
    images = [entropic_map(points, *c, solve(x, c, 0.2)[1].g, eps=0.2) for c in (y, twice)]
    np.testing.assert_allclose(*images, atol=1e-9)


# One far point, one scale


@pytest.mark.parametrize("d", [1, 2, 6])
def test_a_far_query_spoils_no_other(library, d):
    """A query 1e4 away (float64: 1e8) moves the centre of an expanded square, and all values with it."""
    y, points = np.zeros((2, d)), np.zeros((2, d))
    y[1, 0], points[0, 0] = 1.0, 0.4
    b, g, truth = np.full(2, 0.5), np.zeros(2), 1 / (1 + math.exp(2.0))  # (0.36 - 0.16) / 0.1
    for far in (0.4, 1e3, 1e4, 1e8):
        points[1, 0] = far
        arrays = library.arrays((points, y, b, g))
        allowed = 300 * library.eps
        images = to_host(entropic_map(*arrays, eps=0.1))
        np.testing.assert_allclose(images[0, 0], truth, rtol=allowed)
        value = -0.1 * math.log(0.5 * math.exp(-1.6) + 0.5 * math.exp(-3.6))
        np.testing.assert_allclose(to_host(extend_potential(*arrays, eps=0.1))[0], value, rtol=allowed)
        if far * library.eps < 0.01:  # else its own two distances are the same number
            np.testing.assert_allclose(images[1, 0], truth if far == 0.4 else 1.0, rtol=allowed)


@pytest.mark.parametrize(
    ("dtype", "scale"), [("float64", 1e-150), ("float64", 1e150), ("float32", 1e15), ("float32", 1e-15)]
)
def test_scaled_clouds_have_the_scaled_answers(pair, dtype, scale):
    x, y = (PointCloud(*(v.astype(dtype) for v in cloud)) for cloud in pair)
    large = [PointCloud(v.points * x.points.dtype.type(scale), v.weights) for v in (x, y)]
    options = {"tol": 1e-4, "max_iter": 5000}
    ours = sinkhorn_divergence(x, y, eps=0.5, **options)
    found = sinkhorn_divergence(*large, eps=0.5 * scale * scale, **options)
    rtol = 3e3 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(found.value / scale / scale, ours.value, rtol=rtol)
    images = entropic_map(x.points, *y, ours.xy.g, eps=0.5)
    moved = entropic_map(large[0].points, *large[1], found.xy.g, eps=0.5 * scale * scale)
    np.testing.assert_allclose(moved / scale, images, rtol=rtol, atol=rtol)


# Gradients


def weights_step(rng, weights):
    step = np.where(weights > 0, rng.standard_normal(weights.shape), 0.0)
    return step - np.where(weights > 0, step.sum() / np.count_nonzero(weights), 0.0)


@pytest.mark.parametrize("scale_cost", [None, "max", "mean"])
def test_gradients_of_the_divergence_are_finite_differences(pair, rng, scale_cost):
    """In points, weights and eps; padding has none."""
    torch = pytest.importorskip("torch")
    x, y = (PointCloud(np.pad(c.points, ((0, 1), (0, 0))), np.append(c.weights, 0.0)) for c in pair)
    host = [*x, *y, np.asarray(0.7)]
    host[0][-1] = np.nan

    def value(points, a, target, b, eps):
        options = {"tol": 1e-11, "max_iter": 100_000, "scale_cost": scale_cost}
        return sinkhorn_divergence(PointCloud(points, a), PointCloud(target, b), eps=eps, **options)

    inputs = [torch.asarray(v, requires_grad=True) for v in host]
    found = value(*inputs)
    gradients = torch.autograd.grad(found.value, inputs)
    for k, gradient in enumerate(gradients):
        assert bool(torch.all(torch.isfinite(gradient)))
        step = weights_step(rng, host[k]) if k in (1, 3) else rng.standard_normal(host[k].shape)
        ends = [
            float(value(*(v + s * 1e-5 * step if i == k else v for i, v in enumerate(host))).value)
            for s in (1, -1)
        ]
        got = float(np.sum(gradient.numpy() * step))
        assert got == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-8), k
    assert not gradients[0][-1].any()
    with pytest.raises(RuntimeError, match="a potential has no derivative"):
        value(*inputs).xy.f.sum().backward()


def test_gradients_of_maps_are_finite_differences(pair, rng):
    torch = pytest.importorskip("torch")
    x, y = pair
    points, b = np.concatenate([y.points, np.full((1, 3), np.nan)]), np.append(y.weights, 0.0)
    inputs = [torch.asarray(v, requires_grad=True) for v in (x.points, points, b, rng.standard_normal(15))]

    def values(points, y, b, g):
        y, b = torch.cat([y, inputs[1][-1:].detach()]), torch.cat([b, b.new_zeros(1)])
        return entropic_map(points, y, b / b.sum(), g, eps=0.5), extend_potential(
            points, y, b / b.sum(), g, eps=0.5
        )

    inputs = [inputs[0], *(torch.asarray(v, requires_grad=True) for v in y), inputs[3]]
    assert torch.autograd.gradcheck(values, inputs)


# Every library


@pytest.mark.slow
def test_libraries_agree(library, rng):
    for shape in library.batches:
        points, x, y = (rng.normal(size=(*shape, n, 2)) for n in (3, 5, 4))
        g, h, P = rng.normal(size=(*shape, 4)), rng.normal(size=(*shape, 5)), rng.uniform(size=(*shape, 5, 4))
        eps = rng.uniform(0.5, 2.0, size=shape)
        library.check(
            lambda p, y, g, e: extend_potential(p, *uniform(y), g, eps=e), points, y, g, eps, ulps=300
        )
        library.check(lambda p, y, g: entropic_map(p, *uniform(y), g, eps=0.5), points, y, g, ulps=1000)
        library.check(
            lambda p, x, y, g, h: debiased_entropic_map(p, uniform(x), uniform(y), g, h, eps=0.5),
            *(points, x, y, g, h),
            ulps=1000,
        )
        library.check(barycentric_projection, P, y, ulps=100)
        if library.name == "jax":
            continue  # compiles each of its operations
        library.check(divergence, x, y, ulps=1000)


def divergence(x, y):
    ours = sinkhorn_divergence(uniform(x), uniform(y), eps=1.0, tol=None, max_iter=20)
    return ours.value, ours.xy.f, ours.xx.f + ours.xx.g


def test_bad_arguments_are_refused(pair):
    x, y = pair
    g = np.zeros(14)
    with pytest.raises(ValueError, match=r"points and y must have shapes .* got \(10, 3\) and \(14, 2\)"):
        entropic_map(x.points, y.points[:, :2], y.weights, g, eps=0.1)
    with pytest.raises(ValueError, match=r"b and g must have shape \(..., 14\)"):
        extend_potential(x.points, *y, g[:3], eps=0.1)
    with pytest.raises(ValueError, match="eps must be positive; got 0"):
        entropic_map(x.points, *y, g, eps=0.0)
    with pytest.raises(ValueError, match="same dimension"):
        sinkhorn_divergence(x, y._replace(points=y.points[:, :2]), eps=0.1)
    with pytest.raises(ValueError, match=r"y: points must be finite"):
        sinkhorn_divergence(x, y._replace(points=np.full((14, 3), np.nan)), eps=0.1)
