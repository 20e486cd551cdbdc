"""Audited straightness of generated paths (GWFM section 4.1)."""

import numpy as np

from refwfm.generation import generate_clouds
from refwfm.measures import PointCloud
from refwfm.metrics.straightness import Straightness, path_straightness, relative_bend, straightness
from refwfm.training import cloud_generation
from refwfm.validation import far
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.cloud_problems import family
from refwfm.validation.cloud_runs import (
    CONFIG,
    path_by_hand,
    plain_setting,
    random_network,
    random_source,
)
from refwfm.validation.textbook import relative

STEPS = 60
POLYGON = Tolerance(5e-3, 5e-3, "paths are polygons of 60 sides: an error of the square of a step")


def items() -> list[Item]:
    """Return the only item."""
    return [path_straightness_item()]


def path_straightness_item() -> Item:
    """Straightness of paths."""
    return Item(
        id="GWFM-Straightness",
        paper="GWFM",
        place="section 4.1; figures 1, 4 to 6",
        title="straightness of paths",
        latex=r"\frac{\sum\int_0^1\|v_t(X_t)-(X_1-X_0)\|^2dt}{\sum\|X_1-X_0\|^2}",
        statement="Variance of each point's velocity over time, relative to the squared distance travelled.",
        functions=(straightness, path_straightness, relative_bend, cloud_generation.learned_straightness),
        checks=(
            Check(
                "circles: (ω/2)² / sin²(ω/2) - 1, exponentials: (a/2) coth(a/2) - 1",
                bends_of_known_fields,
                straightness,
                {
                    "not squared": _changed(lambda r: r._replace(ratio=np.sqrt(r.ratio))),
                    "energy instead of variance": _changed(lambda r: r._replace(ratio=1.0 + r.ratio)),
                    "relative to the energy": _changed(lambda r: r._replace(ratio=r.ratio / (1.0 + r.ratio))),
                    "the last velocity for the displacement": _from_the_last_velocity,
                    "without the weights": lambda field, source, **options: straightness(
                        field, PointCloud(source.points, np.full(source.weights.shape, 0.25)), **options
                    ),
                },
                POLYGON,
                dimensions=(2, 4),
                many_shapes=True,
            ),
            Check(
                "loops over points and steps",
                ratio_is_its_formula,
                path_straightness,
                {
                    "sum over the steps": lambda path, weights: _scaled(path, weights, len(path) - 1.0),
                    "of the points, not the velocities": _of_points,
                    "padding counted": lambda path, weights: path_straightness(
                        path, np.full(weights.shape, 1.0 / weights.shape[1])
                    ),
                    "mean of the clouds' ratios": _mean_of_ratios,
                },
                roundings(300, "sums of a hundred squares"),
                dimensions=(1, 2, 3),
            ),
            *far.path_checks(),
            Check(
                "Algorithm 3 by hand, a plain network",
                learned_paths_are_those_of_generation,
                cloud_generation.learned_straightness,
                {
                    "one step more": lambda *args, n_steps, **options: cloud_generation.learned_straightness(
                        *args, n_steps=n_steps + 1, **options
                    ),
                    "from other sources": lambda *args, seed, **options: (
                        cloud_generation.learned_straightness(*args, seed=seed + 1, **options)
                    ),
                },
                roundings(1e4, "differences of positions on three steps of a network"),
                dimensions=(1, 2),
                repeats=1,
                many_shapes=True,
            ),
        ),
    )


def _changed(change):
    return lambda field, source, **options: change(straightness(field, source, **options))


def _from_the_last_velocity(field, source, *, n_steps, method):
    """As if a path ended where its last velocity leads from its start."""
    path = []
    generate_clouds(
        field, source, n_steps=n_steps, method=method, observe=lambda k, cloud: path.append(cloud.points)
    )
    path = np.stack(path)
    velocity = n_steps * np.diff(path, axis=0)
    gap = np.sum((velocity - velocity[-1]) ** 2, axis=-1).mean(axis=0)
    moved = np.sum((path[-1] - path[0]) ** 2, axis=-1)
    return Straightness(np.sum(source.weights * gap) / np.sum(source.weights * moved), None, None)


def bends_of_known_fields(measure, draw):
    """Clouds that turn by the angle 2, grow e²-fold, shrink e-fold, or do so in part; relative errors."""
    source = family(draw, draw.size, weighted=True)
    turn = np.zeros((draw.d, draw.d))
    for k in range(0, draw.d, 2):
        turn[k, k + 1], turn[k + 1, k] = 1.0, -1.0
    matrix = draw.to_backend(turn)
    cases = [(lambda cloud, t: 2.0 * (cloud.points @ matrix), 1.0 / np.sin(1.0) ** 2 - 1.0)]
    for rate in (2.0, -1.0):
        truth = 0.5 * rate / np.tanh(0.5 * rate) - 1.0
        cases.append((lambda cloud, t, rate=rate: rate * cloud.points, truth))
    worst = 0.0
    for field, truth in cases:
        found = draw.call(lambda x, field=field: measure(field, x, n_steps=STEPS, method="rk4"), source)
        worst = worst_of(worst, abs(float(found.ratio) / truth - 1.0))
    return worst_of(worst, _mixed_error(measure, draw, source))


def _mixed_error(measure, draw, source):
    """Points with x₁ > 0 go ahead as t², the others as t: the bend is a third of the share of the first."""

    def field(cloud, t):
        fast = draw.to_backend(
            np.broadcast_to((source.points[..., :1] > 0).astype(float), source.points.shape)
        )
        return 1.0 + fast * (2.0 * t[:, None, None] - 1.0)

    found = draw.call(lambda x: measure(field, x, n_steps=STEPS, method="midpoint"), source)
    share = np.sum(source.weights * (source.points[..., 0] > 0)) / np.sum(source.weights)
    return abs(float(found.ratio) / (share / 3.0) - 1.0)


def _path(draw):
    """Random paths of 5 steps, of clouds with weights and padding that is not zero."""
    source = family(draw, draw.size, (5, 3), weighted=True)
    return draw.normal(6, *source.points.shape), source.weights


def ratio_is_its_formula(measure, draw):
    """Bends, displacements and their ratio, relative to each."""
    path, weights = _path(draw)
    bend, moved = np.zeros(draw.size), np.zeros(draw.size)
    for b, row in enumerate(weights):
        for i, weight in enumerate(row):
            way = path[-1, b, i] - path[0, b, i]
            moved[b] += weight * way @ way
            for k in range(5):
                gap = 5.0 * (path[k + 1, b, i] - path[k, b, i]) - way
                bend[b] += weight * gap @ gap / 5.0
    found = draw.call(measure, path, weights)
    ratio = abs(float(found.ratio) / (bend.sum() / moved.sum()) - 1.0)
    return worst_of(relative(found.bend, bend), relative(found.sq_displacement, moved), ratio)


def _scaled(path, weights, factor):
    found = path_straightness(path, weights)
    return found._replace(ratio=factor * found.ratio, bend=factor * found.bend)


def _of_points(path, weights):
    gap = np.sum((path - path.mean(axis=0)) ** 2, axis=-1).mean(axis=0)
    found = path_straightness(path, weights)
    bend = np.sum(weights * gap, axis=-1)
    return found._replace(bend=bend, ratio=np.sum(bend) / np.sum(found.sq_displacement))


def _mean_of_ratios(path, weights):
    found = path_straightness(path, weights)
    return found._replace(ratio=np.mean(found.bend / found.sq_displacement))


def learned_paths_are_those_of_generation(measure, draw):
    """Bends and displacements of three clouds on three steps of Algorithm 3 by hand."""
    params, source = random_network(draw), random_source(draw)
    labels, sizes = np.array([0, 1, 1]), np.array([3, 1, 2])
    options = {"size": 3, "n_steps": 3, "seed": 5, "labels": labels, "sizes": sizes}

    def run(params, source):
        return measure(CONFIG, plain_setting(source, label_counts=(2, 2)), params, **options)

    found = draw.call(run, params, source)
    path, mask = path_by_hand(draw, params, source, labels, sizes)
    weights, way = mask / sizes[:, None], path[-1] - path[0]
    gaps = np.mean(np.sum((3.0 * np.diff(path, axis=0) - way) ** 2, axis=-1), axis=0)
    bend, moved = np.sum(weights * gaps, axis=1), np.sum(weights * np.sum(way**2, axis=-1), axis=1)
    ratio = np.sum(bend) / np.sum(moved)
    return worst_of(
        relative(found.bend, bend, np.max(moved)),
        relative(found.sq_displacement, moved),
        abs(float(found.ratio) - ratio) / ratio,
    )
