"""Proposition 3.1: the stability radius from both sides, its bound, and the report."""

from itertools import permutations

import numpy as np
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from thirds import THOROUGH

from refwfm.clouds import uniform
from refwfm.measures import PointCloud
from refwfm.transport.linearized import align, sq_lazy_distance
from refwfm.transport.stability import (
    assignment_gap,
    laziness_report,
    stability_radius,
    stability_radius_bound,
)


def instance(seed, n, d):
    rng = np.random.default_rng(seed)
    return rng, rng.standard_normal((n, d)), uniform(rng.standard_normal((n, d)))


def images(x):
    return np.stack([x[list(q)] for q in permutations(range(len(x)))])


def sq_costs(S, x):
    """Of all permutations, ascending."""
    return np.sort(np.sum((S - images(x)) ** 2, axis=(-2, -1)))


def worst_direction(S, x):
    """Unit vector along which the aligned permutation is beaten first, and the radius there, term by term."""
    PX, best, found = align(S, uniform(x)), np.inf, None
    for QX in images(x):
        away = PX - QX
        if np.any(away != 0):
            gap = np.sum((S - QX) ** 2) - np.sum((S - PX) ** 2)
            radius = gap / (2 * np.linalg.norm(away))
            if radius < best:
                best, found = radius, -away / np.linalg.norm(away)
    return found, best


def is_optimal(Z, S, x):
    lazy = np.sum((Z - align(S, uniform(x))) ** 2)
    return lazy <= sq_costs(Z, x)[0] + 1e-13 * lazy


@given(st.integers(2, 5), st.integers(1, 3), strategies.seeds)
def test_radius_from_both_sides(n, d, seed):
    """Inside it the alignment is optimal in every direction; just outside it is beaten in the worst one."""
    rng, S, x = instance(seed, n, d)
    radius = float(stability_radius(S, x))
    worst, truth = worst_direction(S, x.points)
    assert radius == pytest.approx(truth, rel=1e-9, abs=1e-13)
    for direction in (worst, *rng.standard_normal((20, n, d))):
        unit = direction / np.linalg.norm(direction)
        assert is_optimal(S + 0.999 * radius * unit, S, x.points)
    assert not is_optimal(S + 1.001 * radius * worst, S, x.points)


def test_look_alikes_of_the_radius_are_wrong(rng):
    """Negative controls: half of it, and without the 2, is seen by the check from one side or the other."""
    _, S, x = instance(5, 4, 2)
    worst, radius = worst_direction(S, x.points)
    assert not is_optimal(S + 0.999 * 2 * radius * worst, S, x.points)
    assert is_optimal(S + 1.001 * 0.5 * radius * worst, S, x.points)


@given(st.integers(1, 6), st.integers(1, 3), strategies.seeds, st.booleans())
def test_gap_is_that_of_the_second_best(n, d, seed, ties):
    _, S, x = instance(seed, n, d)
    if ties:
        S, x = np.round(S), uniform(np.round(x.points))
    gap = float(assignment_gap(S, x))
    if n == 1:
        assert gap == np.inf
    else:
        costs = sq_costs(S, x.points)
        assert gap == pytest.approx(costs[1] - costs[0], abs=1e-12)


@given(st.integers(2, 6), st.integers(1, 3), strategies.seeds)
def test_bound_is_below_the_radius(n, d, seed):
    _, S, x = instance(seed, n, d)
    costs = sq_costs(S, x.points)
    radius, bound = float(stability_radius(S, x)), float(stability_radius_bound(S, x))
    assert bound <= radius * (1 + 1e-12)
    assert bound >= (costs[1] - costs[0]) / (4 * np.linalg.norm(x.points)) * (1 - 1e-9) - 1e-13
    moved = PointCloud(x.points + 100.0, x.weights)
    assert float(stability_radius_bound(S, moved)) == pytest.approx(bound, rel=1e-9, abs=1e-12)


def test_duplicates():
    twice = np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    other = np.array([[0.1, 0.2], [-0.3, 0.1], [0.9, 0.1]])
    assert float(stability_radius(twice, uniform(other))) == pytest.approx(0.0, abs=1e-15)
    assert float(stability_radius_bound(twice, uniform(other))) == pytest.approx(0.0, abs=1e-15)
    # Two equal points of the cloud: which is which does not matter, and only the bound is lost.
    assert float(stability_radius(other, uniform(twice))) > 0.1
    assert float(stability_radius_bound(other, uniform(twice))) == pytest.approx(0.0, abs=1e-15)
    for function in (stability_radius, stability_radius_bound):
        assert float(function(other, uniform(np.ones((3, 2))))) == np.inf
        assert float(function(np.ones((1, 2)), uniform(np.zeros((1, 2))))) == np.inf


def test_radius_of_a_grid_is_half_the_spacing_over_root_two():
    """Two neighbours must change places: ``⟨S, PX - QX⟩ / ‖PX - QX‖ = h² / (√2 h)``."""
    S = np.arange(5.0)[:, None] * 0.5
    assert float(stability_radius(S, uniform(S))) == pytest.approx(0.5 / 2**0.5)


def test_too_many_points_to_enumerate(rng):
    S = rng.standard_normal((8, 2))
    with pytest.raises(ValueError, match=r"8 points are too many.*stability_radius_bound"):
        stability_radius(S, uniform(S))


# The report


@pytest.mark.parametrize("n", [5, 16])
def test_report_is_what_it_says(n):
    """Against a loop over the pairs, with the same draws."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    rng, S, _ = instance(3, n, 2)
    clouds = uniform(rng.standard_normal((6, n, 2)))
    report = laziness_report(S, clouds, sigma=0.2, rng=np.random.default_rng(0), size=40)
    again = np.random.default_rng(0)
    index = again.integers(6, size=40)
    noise = 0.2 * again.standard_normal((40, n, 2))
    ratios = []
    for k, shift in zip(index, noise, strict=True):
        X = clouds.points[k]
        _, columns = linear_sum_assignment(cdist(S + shift, X) ** 2)
        exact = np.mean(np.sum((S + shift - X[columns]) ** 2, axis=-1))
        ratios.append(float(sq_lazy_distance(S + shift, align(S, uniform(X)))) / exact)
    np.testing.assert_allclose(report.ratio, ratios, rtol=1e-12)
    np.testing.assert_allclose(report.noise, np.linalg.norm(noise, axis=(-2, -1)), rtol=1e-12)
    assert report.mean_ratio == pytest.approx(np.mean(ratios))
    assert report.optimal == np.mean(np.array(ratios) < 1 + 1e-12)
    assert report.inside == np.mean(report.noise < report.radius)
    assert 0 < report.optimal < 1
    radius = stability_radius if n <= 7 else stability_radius_bound
    np.testing.assert_allclose(report.radius, radius(S, clouds)[index], rtol=1e-9)
    assert np.all(report.ratio[report.noise < report.radius] < 1 + 1e-12)  # Corollary 3.2


def test_laziness_fails_as_the_noise_reaches_the_spacing():
    """64 atoms on a grid with spacing 2/7, the grid itself as target: 1 at σ = 0.02, hardly ever at 0.1."""
    axis = np.linspace(-1, 1, 8)
    S = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    grid = uniform(S[None])
    small, middle, large = (
        laziness_report(S, grid, sigma=sigma, rng=np.random.default_rng(0), size=100)
        for sigma in (0.02, 0.05, 0.1)
    )
    assert small.optimal == 1.0
    assert small.mean_ratio == pytest.approx(1.0, abs=1e-12)
    assert middle.optimal > 0.9
    assert large.optimal < 0.2
    assert large.mean_ratio > 1.005
    still = laziness_report(S, grid, sigma=0.0, rng=np.random.default_rng(0), size=3)
    assert (still.optimal, still.mean_ratio, still.inside) == (1.0, 1.0, 1.0)  # 0 / 0 counts as 1


@pytest.mark.parametrize("sigma", [-1.0, float("nan"), float("inf")])
def test_report_refuses_a_bad_sigma(rng, sigma):
    S = rng.standard_normal((4, 2))
    with pytest.raises(ValueError, match="sigma must be finite and at least 0"):
        laziness_report(S, uniform(S[None]), sigma=sigma, rng=rng)


def test_report_wants_a_family(rng):
    S = rng.standard_normal((4, 2))
    for points in (S, np.zeros((0, 4, 2))):
        with pytest.raises(ValueError, match="M >= 1"):
            laziness_report(S, uniform(points), sigma=1.0, rng=rng)
    with pytest.raises(ValueError, match="uniform weights"):
        laziness_report(S, PointCloud(S[None], np.array([[0.4, 0.2, 0.2, 0.2]])), sigma=1.0, rng=rng)


@pytest.mark.slow
def test_every_library(library, rng):
    S = rng.standard_normal((3, 2))
    for shape in library.batches:
        x = uniform(rng.standard_normal((*shape, 3, 2)))
        for function in (stability_radius, stability_radius_bound, assignment_gap):
            library.check(function, S, x, ulps=500)
    if library.name == "jax" and not THOROUGH:
        return  # the report's drawn references are one more shape of the same
    family = library.arrays(uniform(rng.standard_normal((3, 3, 2))))
    report = laziness_report(family.points[0, ...], family, sigma=0.1, rng=rng, size=10)
    assert report.ratio.shape == report.radius.shape == report.noise.shape == (10,)
    assert report.mean_ratio >= 1 - 1e-6


def test_a_far_pair_spoils_no_gap_and_no_radius(library):
    """Two near points 1 apart, and one at 1e6 in both clouds: the near two decide."""
    S = np.array([[0.0], [1.0], [1e6]])
    clouds = PointCloud(*library.arrays((S, np.full(3, 1 / 3))))
    reference = library.array(S)
    assert float(assignment_gap(reference, clouds)) == pytest.approx(2.0, rel=100 * library.eps)
    assert float(stability_radius(reference, clouds)) == pytest.approx(0.5**0.5, rel=100 * library.eps)
