"""Outer and inner plans of one training step against exact Wasserstein-on-Wasserstein transport.

A batch of 64 sources and 64 targets of 256 points in 3-D, float64: noise around a reference, and ellipsoids
that were aligned to it beforehand. The exact plan solves an assignment of 256 points for each of the 4096
pairs, then that of the batch, then its 64 inner plans, on all cores. That takes half a minute: every 16th
pair is timed, and the time multiplied by 16. Beside it are the lazy and linear plans, and the sliced ones
with 64 directions. Drawing the batch belongs to neither side.
"""

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from refwfm.clouds import uniform
from refwfm.couplings.costs import outer_cost, pairwise_sq_wasserstein2
from refwfm.couplings.inner import couple
from refwfm.couplings.outer import outer_pairs
from refwfm.measures import PointCloud, take
from refwfm.transport.linearized import align
from refwfm.transport.reference import free_support_barycenter
from refwfm.validation.bench.measure import Row

B, N, D, N_PROJ, SIGMA = 64, 256, 3, 64, 0.1
EVERY = 4
"""The exact plan is timed on every fourth source with every fourth target."""

PEER = f"exact transport ({B * B // EVERY**2} of {B * B} pairs timed, times {EVERY**2})"


def rows(repeats: int = 3) -> list[Row]:
    """Time a step's plans in turns with exact ones."""
    reference, x, y = batch(np.random.default_rng(0))
    cases: dict[str, tuple[Callable[[], object], bool]] = {
        "lazy outer and inner plan": (lambda: plans(x, y, "lazy", "lazy"), True),
        "linear outer and inner plan, sources aligned": (lambda: linear(reference, x, y), True),
        "sliced outer and inner plan": (lambda: plans(x, y, "sliced", "sliced"), True),
        "sliced outer plan, exact inner plan": (lambda: plans(x, y, "sliced", "exact"), True),
        "sliced outer plan alone": (lambda: outer(x, y, "sliced"), False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    exact: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(repeats):
        for name, (case, _inner) in cases.items():
            case()
            start = time.perf_counter()
            case()
            seconds[name].append(time.perf_counter() - start)
        outer_s, inner_s = exact_seconds(x, y)
        exact[False].append(outer_s)
        exact[True].append(outer_s + inner_s)
    found = []
    for name, (_case, inner) in cases.items():
        ours_s, peer_s = median(seconds[name]), median(exact[inner])
        peer = PEER if inner else f"outer plan alone: {PEER}"
        case = f"{name}, {B} clouds of {N} points"
        found.append(Row(case, ours_s, peer, peer_s, peer_s / ours_s, None, None))
    return found


def batch(rng: np.random.Generator) -> tuple[np.ndarray, PointCloud, PointCloud]:
    """Reference, sources around it and targets aligned to it."""
    axes = rng.uniform(0.5, 1.5, (B, 1, D))
    sphere = rng.standard_normal((B, N, D))
    shapes = uniform(axes * sphere / np.linalg.norm(sphere, axis=-1, keepdims=True))
    some = PointCloud(*(part[:8] for part in shapes))
    reference = np.asarray(free_support_barycenter(some, tol=1e-2).points)
    sources = uniform(reference + SIGMA * rng.standard_normal((B, N, D)))
    return reference, sources, uniform(np.asarray(align(reference, shapes)))


def outer(x: PointCloud, y: PointCloud, name: str) -> np.ndarray:
    """Targets of the sources."""
    return outer_pairs(outer_cost(x, y, name, rng=np.random.default_rng(1), n_proj=N_PROJ)).target


def plans(x: PointCloud, y: PointCloud, outer_name: str, inner_name: str) -> object:
    """Pair the batch, then the points of each pair."""
    nu = take(y, outer(x, y, outer_name))
    return couple(x, nu, inner_name, rng=np.random.default_rng(2), solve=no_solver, n_proj=N_PROJ)


def linear(reference: np.ndarray, x: PointCloud, y: PointCloud) -> object:
    """The same with the sources aligned first, as a step does."""
    return plans(PointCloud(align(reference, x, n_jobs=-1), x.weights), y, "linear", "linear")


def exact_seconds(x: PointCloud, y: PointCloud) -> tuple[float, float]:
    """Seconds of the exact outer plan, extrapolated, and of the inner plans."""
    few = [PointCloud(*(part[::EVERY] for part in family)) for family in (x, y)]
    start = time.perf_counter()
    cost = pairwise_sq_wasserstein2(*few)
    pairwise_s = time.perf_counter() - start
    start = time.perf_counter()
    outer_pairs(np.tile(cost, (EVERY, EVERY)) + 1e-3 * np.random.default_rng(3).random((B, B)))
    outer_s = EVERY**2 * pairwise_s + time.perf_counter() - start
    start = time.perf_counter()
    couple(x, y, "exact", rng=np.random.default_rng(2), solve=no_solver)
    return outer_s, time.perf_counter() - start


def no_solver(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Stand in for Sinkhorn: none of these plans calls it."""
    raise AssertionError("no entropic plan is timed")
