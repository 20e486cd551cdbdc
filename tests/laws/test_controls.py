"""Each law rejects functions that are wrong in the ways that functions of this field are wrong in."""

import numpy as np
import pytest
from law_checks import LAWS, SHIFT, applies
from law_compositions import COMPOSITIONS
from law_registry import REGISTRY
from test_compositions import both_agree
from test_laws import holds

from refwfm import bures, interpolation
from refwfm._array import expanded_sq_distance, sq_distances, transpose
from refwfm.bures_metric import Tangent, sq_distance
from refwfm.clouds import moments
from refwfm.measures import Gaussian
from refwfm.transport import linearized, sinkhorn


def named(name):
    (entry,) = (entry for entry in (*REGISTRY, *COMPOSITIONS) if entry.name == name)
    return entry


WRONG = []


def wrong(law, name, call, fault, **traits):
    """A wrong variant of a function, which the law for it must reject."""
    entry = named(name)._replace(call=lambda **given: call(*given.values()), name=fault, **traits)
    WRONG.append(pytest.param(law, entry, id=f"{law}: {fault}"))


COST = "transport.sinkhorn.sq_euclidean_cost"


def about_origin(x, y):
    return np.maximum(expanded_sq_distance(x, y), 0)


def about_middle(x, y):
    """Right wherever the data are, unless one of them is far away."""
    middle = (x.mean(axis=0) + y.mean(axis=0)) / 2
    return about_origin(x - middle, y - middle)


def floored(x, y):
    distances = sq_distances(x, y)
    return np.where(distances > 1e-9, distances, 0 * distances)


wrong("scale", COST, floored, "an absolute tolerance")
wrong("scale", COST, lambda x, y: sq_distances(x, y) + x.dtype.type(1e-8), "an absolute jitter")
wrong("scale", COST, lambda x, y: np.sqrt(sq_distances(x, y)), "a root where a square is meant")
wrong("scale", "clouds.moments", lambda points, weights: jittered(moments(points, weights)), "a jitter")
wrong(
    "scale",
    "bures_metric.sq_distance",
    lambda mu, nu: np.exp(np.log(np.sum(mu.mean**4, axis=-1) ** 0.25) * 2),
    "a fourth power that overflows",
)
wrong("shift", COST, about_origin, "an expanded square about the origin")
wrong("rotation", COST, lambda x, y: np.abs(x[:, None] - y).sum(axis=-1) ** 2, "another norm")
wrong("rotation", "psd.sqrtm", lambda cov: np.sqrt(np.abs(cov)), "a root of each entry")
wrong("far", COST, about_middle, "an expanded square about the middle")
wrong("nan", COST, lambda x, y: np.where(sq_distances(x, y) > 0, sq_distances(x, y), 0), "NaN clamped to 0")
wrong("nan", COST, lambda x, y: sq_distances(x, y) + 0 * np.sum(x), "a sum that all members share")
wrong("triangle", COST, sinkhorn.sq_euclidean_cost, "a square taken for a distance", metric=1)
wrong("identity", COST, lambda x, y: sq_distances(x, y) + 0.01, "a distance with a bias")
wrong("symmetry", COST, lambda x, y: sq_distances(x, y) * x[:, :1] ** 2, "weights of one side only")


def jittered(mu):
    return Gaussian(mu.mean, mu.cov + mu.cov.dtype.type(1e-6) * np.eye(mu.cov.shape[-1], dtype=mu.cov.dtype))


def one_way(x, y):
    """Half of the Chamfer distance."""
    return np.sum(x.weights * np.min(sq_distances(x.points, y.points), axis=-1), axis=-1)


def unweighted(x, y):
    cost = sq_distances(x.points, y.points)
    return np.mean(np.min(cost, axis=-1), axis=-1) + np.mean(np.min(cost, axis=-2), axis=-1)


def nearest_of_expanded(x, y):
    """The nearest is read off an expanded square, then measured well."""
    cost = sq_distances(x.points, y.points)
    middle = x.points.mean(axis=-2, keepdims=True)
    rough = expanded_sq_distance(x.points - middle, y.points - middle)
    there = np.take_along_axis(cost, np.argmin(rough, axis=-1)[..., None], axis=-1)[..., 0]
    back = np.take_along_axis(cost, np.argmin(rough, axis=-2)[..., None, :], axis=-2)[..., 0, :]
    return np.sum(x.weights * there, axis=-1) + np.sum(y.weights * back, axis=-1)


CHAMFER = "metrics.distances.chamfer"
wrong("symmetry", CHAMFER, one_way, "one direction only")
wrong("padding", CHAMFER, unweighted, "a mask that was forgotten")
wrong("splitting", CHAMFER, unweighted, "points are counted, not weighed")
wrong("outlier", CHAMFER, nearest_of_expanded, "the nearest by an expanded square")
wrong(
    "padding",
    "clouds.moments",
    lambda points, weights: moments(points, np.full_like(weights, 1 / weights.shape[-1])),
    "padding has a weight",
)
wrong(
    "permutation",
    "transport.exact.sq_wasserstein2[even]",
    lambda x, y: linearized.sq_lazy_distance(x.points, y.points),
    "alignment that was forgotten",
)
wrong(
    "permutation",
    "transport.sinkhorn.sinkhorn",
    lambda cost, a, b, eps: solved(cost, transpose(a[..., None])[..., 0, ::-1], b, eps),
    "weights in another order",
)
wrong(
    "splitting",
    "transport.sinkhorn.softmin",
    lambda cost, potential, weights, eps: sinkhorn.softmin(cost, potential, 0 * weights + 1, eps),
    "a sum that forgets the weights",
)
wrong(
    "shift",
    "transport.entropic.barycentric_projection",
    lambda plan, y: plan @ y,
    "a mean without its denominator",
)


def solved(cost, a, b, eps):
    return sinkhorn.sinkhorn(cost, a, b, eps=eps, tol=None, max_iter=20)


def forwards(mu, nu, t):
    found = bures.velocity(mu, nu, t)
    return Tangent(np.abs(found.mean), found.lift)


wrong("symmetry", "bures.velocity", forwards, "time runs one way")
wrong(
    "symmetry",
    "interpolation.displacement",
    lambda x, images, t: interpolation.displacement(x, images, t * t),
    "another speed",
)
wrong(
    "far",
    "bures_metric.pairwise_sq_distance",
    lambda mu, nu: about_middle(mu.mean, nu.mean),
    "means by an expanded square",
)


@pytest.mark.parametrize(("law", "entry"), WRONG)
def test_law_rejects(law, entry):
    assert applies(law, entry)
    with pytest.raises((AssertionError, FloatingPointError, RuntimeWarning)):
        holds(law, entry, "float64", examples=10)


def test_every_law_rejects_something():
    assert {case.values[0] for case in WRONG} == set(LAWS)


def flat_path(mu, nu, t):
    """Entries of mean and covariance interpolated: no geodesic."""
    t = t[:, None]
    return Gaussian(mu.mean + t * (nu.mean - mu.mean), mu.cov + t[:, None] * (nu.cov - mu.cov))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        (
            "distance along a geodesic",
            lambda mu, nu, t: (
                sq_distance(mu, flat_path(mu, nu, t)),
                t**2 * sq_distance(mu, nu),
            ),
        ),
        (
            "a part of a part of a geodesic",
            lambda mu, nu, s, r: (
                bures.interpolate(bures.interpolate(mu, nu, s), nu, r),
                bures.interpolate(mu, nu, s * r),
            ),
        ),
        (
            "exp after log",
            lambda mu, nu: (bures.exp(mu, bures.log(mu, nu)._replace(mean=mu.mean - nu.mean)), nu),
        ),
    ],
)
def test_composition_rejects(name, call):
    with pytest.raises(AssertionError):
        both_agree(named(name)._replace(call=call), "float64", examples=10)


def test_a_shift_leaves_points_their_digits():
    assert all(np.dtype(dtype).type(SHIFT[dtype] + 2**-10) - SHIFT[dtype] == 2**-10 for dtype in SHIFT)
