"""Checks of the network that predicts potentials of clouds: what it is told, and that it has no unit."""

from typing import Any

import numpy as np

from refwfm.measures import PointCloud
from refwfm.meta.cloud_potentials import cloud_potential, init_cloud_potential, standardized
from refwfm.training import optim
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.validation.check import Check, roundings, worst_of
from refwfm.validation.draws import Draw
from refwfm.validation.entropic_problems import padded, problem
from refwfm.validation.plain_network import affine, positive
from refwfm.validation.textbook import relative

WIDTH = 4


def checks() -> tuple[Check, ...]:
    """Checks of META-OT-4."""
    return (
        Check(
            "the network of clouds by loops",
            network_is_plain,
            lambda params, x, y, eps: cloud_potential(params, x, y, eps=eps)[0],
            {
                "half of eps": lambda params, x, y, eps: cloud_potential(params, x, y, eps=0.5 * eps)[0],
                "summaries of all points, of equal weight": lambda params, x, y, eps: cloud_potential(
                    params, x, PointCloud(np.nan_to_num(y.points), np.full_like(y.weights, 1 / 7)), eps=eps
                )[0],
                "no summary": lambda params, x, y, eps: cloud_potential(
                    {**params, "point": optim.tree_map(lambda p: 0.0 * p, params["point"])}, x, y, eps=eps
                )[0],
            },
            roundings(3000, "moments, a matrix root and four layers, of features up to twenty"),
            dimensions=(2,),
            many_shapes=True,
        ),
        Check(
            "the same clouds, in a unit whose square is 0",
            units_do_not_matter,
            lambda x, y: standardized(x, y)[:2],
            {
                "clouds exchanged": lambda x, y: standardized(y, x)[:2],
                "in their own unit": lambda x, y: (x, y),
            },
            roundings(30, "moments of up to 7 points"),
            dimensions=(1,),
        ),
    )


def network_is_plain(network: Any, draw: Draw) -> float:
    """Potentials for a moderate, a tiny and a huge eps, 0 at padding; relative to the largest."""
    x, y, _, _ = problem(draw)
    params = init_cloud_potential(draw.rng, draw.d, like=np.zeros(0), width=WIDTH)
    params = optim.tree_map(lambda p: draw.rounded(p + 0.3 * draw.rng.standard_normal(p.shape)), params)
    eps = draw.rounded(np.array([0.3, 1e-12, 1e12]))
    truth = np.stack(
        [_by_loops(params, *(PointCloud(*(part[k] for part in c)) for c in (x, y)), eps[k]) for k in range(3)]
    )
    found = draw.call(network, params, padded(x, 2), padded(y, 1), eps)
    return relative(found, np.pad(truth, [(0, 0), (0, 2)]))


def _by_loops(params: Any, x: PointCloud, y: PointCloud, eps: float) -> np.ndarray:
    """Potential of one pair: a point, what the closed form gives it, moments, eps and summaries."""
    (p, a), (q, b) = ((c.points, c.weights / c.weights.sum()) for c in (x, y))
    middle = 0.5 * (a @ p + b @ q)
    square = 0.5 * np.mean(a @ (p - middle) ** 2 + b @ (q - middle) ** 2)
    p, q = (p - middle) / square**0.5, (q - middle) / square**0.5
    told, lower = [], np.tril_indices(len(middle))
    for points, weights in ((p, a), (q, b)):
        told += [weights @ points, np.einsum("i,ij,ik->jk", weights, points, points)[lower]]
    told.append([0.1 * np.clip(np.log(eps / square), -20.0, 20.0)])
    for points, weights in ((p, a), (q, b)):
        rows = [positive(affine(params["point"], np.append(row, row @ row))) for row in points]
        told.append(weights @ np.stack(rows))
    baseline = gaussian_potential(PointCloud(p, a), PointCloud(q, b))
    potential = []
    for row, base in zip(p, baseline, strict=True):
        h = positive(affine(params["in"], np.concatenate([row, [row @ row, base], *told])))
        potential.append(base + affine(params["out"], positive(affine(params["hidden"], h)))[0])
    return square * np.array(potential)


def units_do_not_matter(standardize: Any, draw: Draw) -> float:
    """Clouds with padding, either of which is the first; and two single points, of opposite signs."""
    unit = 2.0 ** {"float64": -600, "float32": -90}[draw.dtype]
    x, y, _, _ = problem(draw)
    single = [PointCloud(np.full((1, 1, 1), at), np.ones((1, 1))) for at in (-0.5, 1.5)]
    worst = 0.0
    for first, second in ((x, y), (y, x), single):
        (p, a), (q, b) = (
            (c.points, c.weights / c.weights.sum(axis=-1, keepdims=True)) for c in (first, second)
        )
        middle = 0.5 * (np.einsum("ki,kij->kj", a, p) + np.einsum("ki,kij->kj", b, q))[:, None]
        squares = np.einsum("ki,kij->k", a, (p - middle) ** 2) + np.einsum("ki,kij->k", b, (q - middle) ** 2)
        truth = [(part - middle) / np.sqrt(0.5 * squares)[:, None, None] for part in (p, q)]
        small = [c._replace(points=unit * c.points) for c in (first, second)]
        if len(a) > 1:
            small, truth = [padded(c, 1) for c in small], [np.pad(t, [(0, 0), (0, 1), (0, 0)]) for t in truth]
        found = draw.call(standardize, *small)
        worst = worst_of(
            worst, *(relative(part.points, t, 1.0) for part, t in zip(found, truth, strict=True))
        )
    return worst
