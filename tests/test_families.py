"""Transport between families: one linear programme for both levels, metric axioms, curves of couplings."""

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from oracles import EPS, relative
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from refwfm.clouds import moments, pad, unpad
from refwfm.measures import PointCloud
from refwfm.transport.families import (
    Family,
    curve,
    even_family,
    independent_plan,
    membership_error,
    optimal_plan,
    random_coupling,
    sq_coupling_cost,
    sq_wow_distance,
)
from refwfm.validation.families import any_coupling, least_cost_of_all_couplings


def random_family(rng, counts=(3, 2, 4), d=2):
    """Clouds of these sizes with unequal weights, as a family with unequal weights."""
    clouds = [rng.normal(size=(k, d)) + rng.normal(size=d) for k in counts]
    weights = [rng.dirichlet(np.full(k, 4.0)) for k in counts]
    return Family(pad(clouds, weights=weights), rng.dirichlet(np.full(len(counts), 4.0)))


def members(family):
    """Points and weights of every cloud, without padding."""
    masses = [row[row > 0] for row in family.clouds.weights]
    return list(zip(unpad(family.clouds), masses, strict=True))


def transport(cost, a, b):
    """HiGHS on the transport polytope."""
    rows, columns = np.kron(np.eye(len(a)), np.ones(len(b))), np.kron(np.ones(len(a)), np.eye(len(b)))
    found = linprog(cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=np.concatenate([a, b]))
    assert found.status == 0
    return found.fun


def inner_distances(mu, nu):
    return np.array(
        [[transport(cdist(x, y, "sqeuclidean"), a, b) for y, b in members(nu)] for x, a in members(mu)]
    )


@pytest.fixture
def families(rng):
    return random_family(rng), random_family(rng, (2, 4))


# The distance


def test_distance_is_highs(families):
    mu, nu = families
    found = sq_wow_distance(mu, nu)
    inner = inner_distances(mu, nu)
    truth = transport(inner, mu.weights, nu.weights)
    assert relative(found.inner, inner) < 1e-9
    assert found.sq_distance == pytest.approx(truth, rel=1e-9)
    assert found.outer.converged
    np.testing.assert_allclose(found.outer.plan.sum(axis=1), mu.weights, atol=1e-12)
    np.testing.assert_allclose(found.outer.plan.sum(axis=0), nu.weights, atol=1e-12)
    wrong = {
        "unsquared inner distances": transport(np.sqrt(inner), mu.weights, nu.weights) ** 2,
        "independent outer plan": mu.weights @ inner @ nu.weights,
        "nearest clouds": mu.weights @ inner.min(axis=1),
        "the families' weights left out": transport(inner, np.full(3, 1 / 3), np.full(2, 1 / 2)),
    }
    for name, variant in wrong.items():
        assert abs(variant / truth - 1) > 1e-3, name


def test_distance_of_two_diracs_is_that_of_their_clouds(families):
    mu, nu = (Family(PointCloud(*(part[:1] for part in family.clouds)), np.ones(1)) for family in families)
    assert sq_wow_distance(mu, nu).sq_distance == pytest.approx(inner_distances(mu, nu)[0, 0], rel=1e-9)


def test_distance_of_families_of_points_is_that_of_the_points(rng):
    """Clouds of one point: the embedding of R^d into measures over measures is isometric."""
    x, y = rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    a, b = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(4))
    mu, nu = (Family(PointCloud(z[:, None], np.ones((len(z), 1))), w) for z, w in ((x, a), (y, b)))
    truth = transport(cdist(x, y, "sqeuclidean"), a, b)
    assert sq_wow_distance(mu, nu).sq_distance == pytest.approx(truth, rel=1e-9)


@given(strategies.seeds)
def test_metric_axioms(seed):
    rng = np.random.default_rng(seed)
    mu, nu, rho = random_family(rng, (2, 3)), random_family(rng, (1, 4, 2)), random_family(rng, (3, 3))

    def distance(one, two):
        return float(sq_wow_distance(one, two).sq_distance) ** 0.5

    assert distance(mu, mu) < 1e-7
    assert distance(mu, nu) == pytest.approx(distance(nu, mu), rel=1e-9)
    assert distance(mu, nu) > 0
    assert distance(mu, rho) <= distance(mu, nu) + distance(nu, rho) + 1e-9


@given(strategies.seeds)
def test_distance_is_at_least_that_of_the_mean_measures(seed):
    """``∫ μ dM``: all atoms of all clouds, weighted twice. 4.46 against 2.48 in one instance."""
    rng = np.random.default_rng(seed)
    mu, nu = random_family(rng), random_family(rng, (2, 4))

    def mean_measure(family):
        parts = [(x, w * mass) for (x, w), mass in zip(members(family), family.weights, strict=True)]
        return np.concatenate([x for x, _ in parts]), np.concatenate([w for _, w in parts])

    (x, a), (y, b) = mean_measure(mu), mean_measure(nu)
    truth = transport(cdist(x, y, "sqeuclidean"), a, b)
    assert sq_wow_distance(mu, nu).sq_distance >= truth * (1 - 1e-9)
    one_of_each = [Family(PointCloud(z[None], w[None]), np.ones(1)) for z, w in ((x, a), (y, b))]
    assert sq_wow_distance(*one_of_each).sq_distance == pytest.approx(truth, rel=1e-9)


@given(strategies.seeds)
def test_rigid_motions_and_order(seed):
    """One shift and rotation of all points, and another order of clouds, change nothing; scales do."""
    rng = np.random.default_rng(seed)
    mu, nu = random_family(rng), random_family(rng, (2, 4))
    truth = sq_wow_distance(mu, nu).sq_distance
    Q, shift, order = np.linalg.qr(rng.normal(size=(2, 2)))[0], 3 * rng.normal(size=2), rng.permutation(3)

    def moved(family, scale=1.0):
        return family._replace(clouds=family.clouds._replace(points=scale * family.clouds.points @ Q + shift))

    shuffled = Family(PointCloud(*(part[order] for part in mu.clouds)), mu.weights[order])
    assert sq_wow_distance(moved(shuffled), moved(nu)).sq_distance == pytest.approx(truth, rel=1e-9)
    assert sq_wow_distance(moved(mu, 2.0), moved(nu, 2.0)).sq_distance == pytest.approx(4 * truth, rel=1e-9)


@given(strategies.seeds, st.integers(0, 3))
def test_padding_has_no_influence(seed, more):
    rng = np.random.default_rng(seed)
    mu, nu = random_family(rng), random_family(rng, (2, 4))
    wider = PointCloud(
        np.pad(mu.clouds.points, ((0, 0), (0, more), (0, 0)), constant_values=np.nan),
        np.pad(mu.clouds.weights, ((0, 0), (0, more))),
    )
    padded = mu._replace(clouds=wider)
    truth = sq_wow_distance(mu, nu).sq_distance
    assert sq_wow_distance(padded, nu).sq_distance == pytest.approx(truth, rel=1e-12)
    coupling = random_coupling(padded, nu, sq_wow_distance(mu, nu).outer.plan, optimal_plan)
    assert sq_coupling_cost(coupling, padded, nu) == pytest.approx(truth, rel=1e-9)
    assert np.isfinite(curve(coupling, padded, nu, 0.5).clouds.points).all()


# Random couplings


def test_least_cost_over_all_random_couplings_is_the_distance(families):
    """Lemma 2.4: against one linear programme over outer and inner plans together."""
    mu, nu = families
    best = least_cost_of_all_couplings(mu, nu)
    distance = sq_wow_distance(mu, nu)
    assert distance.sq_distance == pytest.approx(best, rel=1e-9)
    coupling = random_coupling(mu, nu, distance.outer.plan, optimal_plan)
    assert max(membership_error(coupling, mu, nu)) < 1e-12
    assert sq_coupling_cost(coupling, mu, nu) == pytest.approx(best, rel=1e-9)
    product = np.outer(mu.weights, nu.weights)
    for outer, select in (
        (product, optimal_plan),
        (distance.outer.plan, independent_plan),
        (product, independent_plan),
    ):
        dearer = random_coupling(mu, nu, outer, select)
        assert max(membership_error(dearer, mu, nu)) < 1e-12
        assert sq_coupling_cost(dearer, mu, nu) > 1.01 * best


def test_random_couplings_are_never_cheaper(families, rng):
    mu, nu = families
    best = float(sq_wow_distance(mu, nu).sq_distance)
    for _ in range(200):
        coupling = any_coupling(rng, mu, nu)
        assert max(membership_error(coupling, mu, nu)) < 1e-12
        assert sq_coupling_cost(coupling, mu, nu) >= best * (1 - 1e-12)


def test_coupling_cost_is_the_sum_over_all_pairs(families, rng):
    mu, nu = families
    coupling = any_coupling(rng, mu, nu)
    truth = 0.0
    for (i, j, k, m), mass in np.ndenumerate(coupling.plans):
        gap = mu.clouds.points[i, k] - nu.clouds.points[j, m]
        truth += coupling.outer[i, j] * mass * (gap @ gap)
    assert sq_coupling_cost(coupling, mu, nu) == pytest.approx(truth, rel=1e-12)


def test_membership_error_finds_each_fault(families, rng):
    mu, nu = families
    good = any_coupling(rng, mu, nu)
    swapped = good.plans.copy()
    swapped[0, 0] = good.plans[1, 0]
    light = good.outer.copy()
    light[0, 0] -= 0.01
    assert membership_error(good._replace(outer=light), mu, nu)[:2] == pytest.approx((0.01, 0.01))
    errors = membership_error(good._replace(plans=swapped), mu, nu)
    assert errors.inner_rows > 1e-3
    assert errors.inner_columns < 1e-12
    unused = good._replace(outer=np.where([[1, 0], [0, 0], [0, 0]], 0.0, good.outer), plans=swapped)
    assert membership_error(unused, mu, nu).inner_rows < 1e-12  # where outer is 0 plans do not count


# Curves


def test_curve_starts_and_ends_at_the_families(families, rng):
    mu, nu = families
    coupling = any_coupling(rng, mu, nu)
    for t, family in ((0.0, mu), (1.0, nu)):
        assert sq_wow_distance(curve(coupling, mu, nu, t), family).sq_distance < 1e-12
    middle = curve(coupling, mu, nu, 0.5)
    assert middle.clouds.points.shape == (6, 16, 2)
    np.testing.assert_allclose(middle.clouds.weights.sum(axis=-1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(middle.weights, coupling.outer.ravel())


def test_atoms_of_the_curve_by_hand():
    mu = Family(PointCloud(np.array([[[0.0], [1.0]]]), np.array([[0.5, 0.5]])), np.ones(1))
    nu = Family(PointCloud(np.array([[[4.0], [9.0]]]), np.array([[0.25, 0.75]])), np.ones(1))
    at = curve(random_coupling(mu, nu, np.ones((1, 1)), independent_plan), mu, nu, 0.25)
    np.testing.assert_allclose(at.clouds.points[0, :, 0], [1.0, 2.25, 1.75, 3.0])
    np.testing.assert_allclose(at.clouds.weights[0], [0.125, 0.375, 0.125, 0.375])


def test_optimal_curve_is_a_geodesic(families):
    mu, nu = families
    whole = sq_wow_distance(mu, nu)
    coupling = random_coupling(mu, nu, whole.outer.plan, optimal_plan)
    times = (0.0, 0.2, 0.7, 1.0)
    points = [curve(coupling, mu, nu, t) for t in times]
    for s, x in zip(times, points, strict=True):
        for t, y in zip(times, points, strict=True):
            part = sq_wow_distance(x, y).sq_distance
            assert abs(part - (t - s) ** 2 * whole.sq_distance) < 1e-9 * whole.sq_distance


@given(strategies.seeds, st.floats(0, 1), st.floats(0, 1))
def test_any_curve_is_lipschitz(seed, s, t):
    """With the root of its cost as constant; the product coupling's curve is not a geodesic."""
    rng = np.random.default_rng(seed)
    mu, nu = random_family(rng, (3, 2)), random_family(rng, (2, 3))
    coupling = any_coupling(rng, mu, nu)
    part = sq_wow_distance(curve(coupling, mu, nu, s), curve(coupling, mu, nu, t)).sq_distance
    assert part <= (t - s) ** 2 * sq_coupling_cost(coupling, mu, nu) + 1e-9


def test_means_of_the_curve_move_straight(families, rng):
    mu, nu = families
    coupling = any_coupling(rng, mu, nu)
    start, middle, end = (moments(*curve(coupling, mu, nu, t).clouds).mean for t in (0.0, 0.3, 1.0))
    np.testing.assert_allclose(middle, 0.7 * start + 0.3 * end, atol=100 * EPS)


# Every library


def test_libraries_agree(library, families, rng):
    mu, nu = families
    coupling = any_coupling(rng, mu, nu)
    library.check(lambda mu, nu: sq_wow_distance(mu, nu)[::2], mu, nu, ulps=1000)
    library.check(sq_coupling_cost, coupling, mu, nu, ulps=100)
    library.check(membership_error, coupling, mu, nu, ulps=100, scale=1.0)
    library.check(lambda *args: curve(*args, 0.3), coupling, mu, nu, ulps=20)
    library.check(even_family, mu.clouds, ulps=1)
    library.check(
        lambda mu, nu, outer: random_coupling(mu, nu, outer, independent_plan),
        mu,
        nu,
        coupling.outer,
        ulps=20,
    )
    # The optimal plan itself is a vertex of its polytope: it is the same on all libraries.
    library.check(
        lambda mu, nu, outer: random_coupling(mu, nu, outer, optimal_plan), mu, nu, coupling.outer, ulps=100
    )


# Bad input


def test_bad_families_are_refused(families):
    mu, nu = families
    bad = {
        r"nu must be a family of clouds.* weights \(3,\)": nu._replace(weights=np.full(3, 1 / 3)),
        "nu.weights must be non-negative with mass 1": nu._replace(weights=np.array([0.5, 0.6])),
        "nu.clouds: points must be finite": nu._replace(
            clouds=nu.clouds._replace(points=np.full((2, 4, 2), np.nan))
        ),
        "nu.clouds: weights must be non-negative": nu._replace(
            clouds=nu.clouds._replace(weights=2 * nu.clouds.weights)
        ),
        "same dimension; got d = 2 and 3": random_family(np.random.default_rng(0), (2, 3), d=3),
        "with N >= 1": Family(PointCloud(np.zeros((0, 2, 2)), np.zeros((0, 2))), np.zeros(0)),
        r"points \(4, 2\)": Family(PointCloud(nu.clouds.points[0], nu.clouds.weights[0]), np.ones(4) / 4),
    }
    for message, family in bad.items():
        with pytest.raises(ValueError, match=message):
            sq_wow_distance(mu, family)
    with pytest.raises(TypeError, match="must have the same dtype; got"):
        sq_wow_distance(mu, nu._replace(weights=nu.weights.astype(np.float32)))
    with pytest.raises(ValueError, match="outer must have shape"):
        random_coupling(mu, nu, np.ones((2, 2)), optimal_plan)
    with pytest.raises(ValueError, match="N >= 1"):
        even_family(PointCloud(np.zeros((0, 1, 1)), np.zeros((0, 1))))


def test_mixed_libraries_are_refused(families):
    strict = pytest.importorskip("array_api_strict")
    mu, nu = families
    other = Family(PointCloud(*map(strict.asarray, nu.clouds)), strict.asarray(nu.weights))
    with pytest.raises(TypeError):
        sq_wow_distance(mu, other)
