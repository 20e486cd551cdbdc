"""Exact 1-NN EMD of 100 + 100 clouds of 512 surface points against a plain loop over SciPy's assignments.

With ``REFWFM_DATA`` set the clouds are chairs (512 surface voxels each, jittered within the voxel; one half
stands for a generated family), otherwise ellipsoids. The loop would take a quarter of an hour, so it is timed
on a sample and extrapolated to all 19,900 pairs: all pairs of a few clouds, which are the truth that our
nearest neighbours of these clouds are held against. Ours is timed once, on all cores. The peer of the Chamfer
matrix is a loop over k-d trees.
"""

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from refwfm import datasets
from refwfm.clouds import uniform
from refwfm.measures import take
from refwfm.metrics.distances import pairwise_chamfer, pairwise_emd
from refwfm.metrics.neighbours import nearest_clouds
from refwfm.validation.bench.measure import Row

CLOUDS, POINTS = 200, 512
PAIRS = CLOUDS * (CLOUDS - 1) // 2
MATRIX = 24
"""Clouds of the full matrix of distances, which is timed beside the search."""


def rows(repeats: int = 5) -> list[Row]:
    """Time ours and the plain loop on ``min(repeats, 2)`` clouds against all; raise if neighbours differ."""
    rng = np.random.default_rng(0)
    name, points = surfaces(rng)
    clouds = uniform(points)
    checked = rng.choice(CLOUDS, size=min(repeats, 2), replace=False)
    result = []
    for squared, cost in ((True, "squared cost"), (False, "Euclidean cost")):
        seconds, found = timed(
            lambda squared=squared: nearest_clouds(clouds, squared=squared, rng=np.random.default_rng(0))
        )
        peer_s, truth = timed(lambda squared=squared: plain_rows(points, checked, squared))
        peer_s *= PAIRS / truth[np.isfinite(truth)].size
        error = disagreement(found.member[checked], found.distance[checked], truth)
        text = f"1-NN EMD, {cost}, 100 + 100 {name} of {POINTS} ({found.n_exact} of {PAIRS} pairs solved)"
        peer = f"SciPy, plain loop (extrapolated from {np.isfinite(truth).sum()} pairs)"
        result.append(Row(text, seconds, peer, peer_s, peer_s / seconds, error, None))
        few = take(clouds, np.arange(MATRIX))
        share = PAIRS / (MATRIX * (MATRIX - 1) / 2)
        seconds = share * timed(lambda few=few, squared=squared: pairwise_emd(few, squared=squared))[0]
        text = f"EMD matrix, {cost}, {CLOUDS} × {CLOUDS} (extrapolated from {MATRIX} × {MATRIX})"
        result.append(Row(text, seconds, peer, peer_s, peer_s / seconds, None, None))
    seconds, matrix = timed(lambda: pairwise_chamfer(clouds))
    peer_s, truth = timed(lambda: tree_rows(points, checked))
    peer_s *= PAIRS / (len(checked) * (CLOUDS - 1))
    error = float(np.max(np.abs(matrix[checked] - truth)))
    peer = f"k-d trees, a loop on one core (extrapolated from {len(checked) * (CLOUDS - 1)} pairs)"
    text = f"Chamfer matrix, {CLOUDS} × {CLOUDS} {name} of {POINTS}"
    return [*result, Row(text, seconds, peer, peer_s, peer_s / seconds, error, None)]


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and its value."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def surfaces(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """Points (200, 512, 3) on surfaces, and what they are."""
    if os.environ.get("REFWFM_DATA"):
        family = datasets.load("chairs")
        members = rng.choice(len(family.offsets) - 1, size=CLOUDS, replace=False)
        voxel = 1.0 / 16.0  # the side of one, in the family's units
        picked = [
            rng.choice(family.points[family.offsets[i] : family.offsets[i + 1]], size=POINTS, replace=False)
            for i in members
        ]
        return "chairs", np.stack(picked) + voxel * rng.uniform(-0.5, 0.5, (CLOUDS, POINTS, 3))
    sphere = rng.standard_normal((CLOUDS, POINTS, 3))
    sphere /= np.linalg.norm(sphere, axis=-1, keepdims=True)
    return "ellipsoids", sphere * rng.uniform(0.2, 1.0, (CLOUDS, 1, 3))


def plain_rows(points: np.ndarray, rows: np.ndarray, squared: bool) -> np.ndarray:
    """EMD of some clouds to all, one after the other; infinite to themselves."""
    matrix = np.full((len(rows), len(points)), np.inf)
    for k, i in enumerate(rows):
        for j in range(len(points)):
            if j != i:
                cost = cdist(points[i], points[j], "sqeuclidean" if squared else "euclidean")
                matrix[k, j] = cost[linear_sum_assignment(cost)].mean()
    return matrix


def disagreement(member: np.ndarray, distance: np.ndarray, truth: np.ndarray) -> float:
    """Largest error of the distances to the nearest; raise if one is not the nearest."""
    least = truth.min(axis=1)
    named = truth[np.arange(len(truth)), member]
    error = float(max(np.max(np.abs(distance - least)), np.max(named - least)))
    if not error < 1e-12:
        raise RuntimeError(f"the nearest neighbours are not those of all distances: off by {error:.3g}")
    return error


def tree_rows(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Chamfer distances of some clouds to all, by one k-d tree for each cloud."""
    trees = [KDTree(cloud) for cloud in points]
    matrix = np.zeros((len(rows), len(points)))
    for k, i in enumerate(rows):
        for j in range(len(points)):
            if j != i:
                there, back = trees[j].query(points[i])[0], trees[i].query(points[j])[0]
                matrix[k, j] = np.mean(there**2) + np.mean(back**2)
    return matrix
