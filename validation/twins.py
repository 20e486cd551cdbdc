"""Audited twins: every operation that a backend does faster, against its reference on the same arrays."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from refwfm import bures
from refwfm.backends import Backend
from refwfm.training import optim, regression
from refwfm.training.ops import REFERENCE, Ops
from refwfm.training.regression import CloudBatch, GaussianBatch
from refwfm.transport.grids import Grid, grid_softmin
from refwfm.transport.semidual import semidual_value_and_gradient
from refwfm.transport.sinkhorn import plan, sinkhorn
from refwfm.transport.starts import error_curve
from refwfm.validation import cloud_twins, streamed_checks
from refwfm.validation.check import Check, Item, Tolerance, roundings, worst_of
from refwfm.validation.draws import Draw
from refwfm.validation.plain_network import random_parameters, random_scaling
from refwfm.validation.textbook import relative, scaled

TITLES = {
    "pairwise_sq_distance": "distances of all pairs",
    "path": "points and velocities of geodesics",
    "gaussian_loss_and_grad": "loss and gradient of a training step",
    "cloud_loss_and_grad": "loss and gradient of a training step on clouds",
    "cloud_velocity": "velocities of a step of generation of clouds",
    "sinkhorn": "Sinkhorn",
    "streamed_softmin": "soft minimum without the costs",
    "grid_softmin": "soft minimum on a grid",
    "semidual_value_and_gradient": "semi-dual and its gradient",
    "error_curve": "marginal errors of Sinkhorn's iterates",
    "clip_by_global_norm": "clipping of the gradient",
    "adam": "Adam",
    "ema": "running mean of the parameters",
}


def items(backend: Backend) -> list[Item]:
    """Return one item for each operation of the backend that is not the reference itself."""
    names = (name for name in Ops._fields if getattr(backend.ops, name) is not getattr(REFERENCE, name))
    return [_item(name, getattr(backend.ops, name)) for name in names]


def _item(name: str, twin: Callable[..., Any]) -> Item:
    check = {
        "pairwise_sq_distance": _distances,
        "path": _paths,
        "gaussian_loss_and_grad": _losses,
        "cloud_loss_and_grad": _cloud_losses,
        "cloud_velocity": cloud_twins.velocities,
        "sinkhorn": _sinkhorns,
        "streamed_softmin": streamed_checks.twin_check,
        "grid_softmin": _grid_softmins,
        "semidual_value_and_gradient": _semiduals,
        "error_curve": _error_curves,
        "clip_by_global_norm": _clippings,
        "adam": _adams,
        "ema": _averages,
    }[name](twin)
    return Item(
        id=f"twin-{name.replace('_', '-')}",
        paper="twins",
        place="this backend",
        title=f"{TITLES[name]}, the faster twin",
        latex="",
        statement="The backend's own implementation does what the reference does.",
        functions=(twin, getattr(REFERENCE, name)),
        checks=(check,),
    )


def _distances(twin: Callable[..., Any]) -> Check:
    return Check(
        "the reference on the same arrays",
        distances_agree,
        twin,
        {
            "not squared": lambda mu, nu: np.sqrt(bures.pairwise_sq_distance(mu, nu)),
            "half of it": lambda mu, nu: 0.5 * bures.pairwise_sq_distance(mu, nu),
        },
        roundings(300, "condition number 30, d up to 16"),
    )


def distances_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Distances of 9 x 14 pairs."""
    mu, nu = draw.gaussians(size=9), draw.gaussians(size=14)
    return relative(draw.call(twin, mu, nu), draw.call(bures.pairwise_sq_distance, mu, nu))


def _paths(twin: Callable[..., Any]) -> Check:
    return Check(
        "the reference on the same arrays",
        paths_agree,
        twin,
        {
            "time reversed": lambda mu, nu, t, **options: bures.path(mu, nu, 1.0 - t, **options),
            "velocity at the start": lambda mu, nu, t, **options: (
                bures.path(mu, nu, t, **options)[0],
                bures.path(mu, nu, 0.0 * t, **options)[1],
            ),
        },
        roundings(1000, "condition number 30, of which float32 keeps the rounding; d up to 16"),
    )


def paths_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Points and velocities of nine geodesics."""
    mu, nu, t = draw.gaussians(size=9), draw.gaussians(size=9), draw.rounded(draw.rng.uniform(size=9))
    found, truth = (draw.call(function, mu, nu, t, validate=False) for function in (twin, bures.path))
    return max(relative(x, y) for a, b in zip(found, truth, strict=True) for x, y in zip(a, b, strict=True))


def _losses(twin: Callable[..., Any]) -> Check:
    def half(*args: Any, method: str) -> Any:
        value, grads = regression.gaussian_loss_and_grad(*args, method=method)
        return value, optim.tree_map(lambda g: 0.5 * g, grads)

    def other_target(params: Any, scaling: Any, batch: GaussianBatch, *, method: str) -> Any:
        target = scaled(-1.0, batch.target)
        return regression.gaussian_loss_and_grad(
            params, scaling, batch._replace(target=target), method=method
        )

    return Check(
        "the reference on the same arrays",
        losses_agree,
        twin,
        {"half of the gradient": half, "the velocity's sign": other_target},
        roundings(1000, "five layers of width 5"),
        dimensions=(1, 3),
        repeats=1,
    )


def losses_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Loss and all gradients, without and with features of the state."""
    return worst_of(*(_loss_error(twin, draw, n_state) for n_state in (0, 3)))


def _loss_error(twin: Callable[..., Any], draw: Draw, n_state: int) -> float:
    params, scaling = random_parameters(draw, n_state=n_state), random_scaling(draw, n_state)
    batch = GaussianBatch(draw.gaussians(), draw.tangents(), draw.times(), None)
    (value, grads), (truth, wanted) = (
        draw.call(function, params, scaling, batch, method="riemannian")
        for function in (twin, regression.gaussian_loss_and_grad)
    )
    return worst_of(abs(float(value - truth)) / float(truth), _tree_error(grads, wanted, _largest(wanted)))


def _cloud_losses(twin: Callable[..., Any]) -> Check:
    def half(*args: Any, heads: int) -> Any:
        value, grads = regression.cloud_loss_and_grad(*args, heads=heads)
        return value, optim.tree_map(lambda g: 0.5 * g, grads)

    def without_mask(params: Any, batch: CloudBatch, *, heads: int) -> Any:
        full = batch._replace(weights=np.maximum(batch.weights, 1e-9))
        return regression.cloud_loss_and_grad(params, full, heads=heads)

    return Check(
        "the reference on the same arrays",
        cloud_losses_agree,
        twin,
        {"half of the gradient": half, "padding is read": without_mask},
        roundings(3000, "two blocks of width 8, softmax and layer norms"),
        dimensions=(2, 3),
        repeats=1,
    )


def cloud_losses_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Loss and all gradients, on clouds of different sizes with labels, also with features of points."""
    return worst_of(*(_cloud_loss_error(twin, draw, n_space) for n_space in (0, 3)))


def _cloud_loss_error(twin: Callable[..., Any], draw: Draw, n_space: int) -> float:
    params, batch = cloud_twins.random_clouds(draw, n_space)
    (value, grads), (truth, wanted) = (
        draw.call(function, params, batch, heads=2) for function in (twin, regression.cloud_loss_and_grad)
    )
    return worst_of(abs(float(value - truth)) / float(truth), _tree_error(grads, wanted, _largest(wanted)))


def _sinkhorns(twin: Callable[..., Any]) -> Check:
    def of(change: Callable[..., Any]) -> Callable[..., Any]:
        return lambda cost, a, b, **options: sinkhorn(*change(cost, a, b), **options)

    return Check(
        "the reference on the same arrays",
        sinkhorns_agree,
        twin,
        {
            "weights ignored": of(lambda cost, a, b: (cost, 0 * a + 1 / a.shape[-1], b)),
            "half the cost": of(lambda cost, a, b: (0.5 * cost, a, b)),
            "half the eps": lambda cost, a, b, *, eps, **options: sinkhorn(
                cost, a, b, eps=0.5 * eps, **options
            ),
        },
        Tolerance(1e-6, 1e-3, "twice the marginal error that both are iterated to, times the condition"),
        dimensions=(1, 2, 3),
        repeats=1,
    )


def sinkhorns_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """L1 distance of the plans, iterated to marginal errors of 1e-9 (float32: 1e-5)."""
    x, y = draw.normal(6, draw.d), draw.normal(9, draw.d)
    a, b = draw.weights(6), draw.weights(9)
    cost = draw.rounded(np.sum((x[:, None] - y) ** 2, axis=-1))
    tol = 1e-9 if draw.eps < 1e-10 else 1e-5
    plans = [
        plan(cost, a, b, draw.call(function, cost, a, b, eps=0.2, scale_cost="max", tol=tol))
        for function in (twin, sinkhorn)
    ]
    return float(np.sum(np.abs(plans[0] - plans[1])))


def _semiduals(twin: Callable[..., Any]) -> Check:
    def of(change: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arrays, **options: semidual_value_and_gradient(*change(*arrays), **options)

    return Check(
        "the reference on the same arrays",
        semiduals_agree,
        twin,
        {
            "half the cost": of(lambda f, cost, a, b: (f, 0.5 * cost, a, b)),
            "the sign of f": of(lambda f, cost, a, b: (-f, cost, a, b)),
            "weights exchanged": of(lambda f, cost, a, b: (f, cost, a, b[..., ::-1])),
        },
        roundings(1000, "exponents up to 100, of which both keep the rounding"),
        dimensions=(1, 2, 3),
        repeats=1,
    )


def semiduals_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Value and gradient, relative to the largest, at potentials of three pairs with one dead atom each."""
    f, cost, a, b = _three_problems(draw)
    a[:, 1], b[:, 2] = 0.0, 0.0
    a, b = (draw.rounded(w / w.sum(axis=-1, keepdims=True)) for w in (a, b))
    found, truth = (
        draw.call(function, f, cost, a, b, eps=0.5, validate=False)
        for function in (twin, semidual_value_and_gradient)
    )
    return worst_of(*(relative(x, y) for x, y in zip(found, truth, strict=True)))


def _three_problems(draw: Draw) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Potentials, costs of one pair of clouds, and three pairs of weights."""
    x, y = draw.normal(6, draw.d), draw.normal(9, draw.d)
    cost = draw.rounded(np.sum((x[:, None] - y) ** 2, axis=-1))
    a, b = (np.stack([draw.weights(n) for _ in range(3)]) for n in (6, 9))
    return draw.normal(3, 6), cost, a, b


def _error_curves(twin: Callable[..., Any]) -> Check:
    return Check(
        "the reference on the same arrays",
        error_curves_agree,
        twin,
        {
            "half the eps": lambda *args, eps, **options: error_curve(*args, eps=0.5 * eps, **options),
            "weights exchanged": lambda cost, a, b, **options: error_curve(cost, a[..., ::-1], b, **options),
        },
        roundings(1000, "exponents up to 100, of which both keep the rounding"),
        dimensions=(1, 2, 3),
        repeats=1,
    )


def error_curves_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Errors of eight iterates, from zeros."""
    _, cost, a, b = _three_problems(draw)
    found, truth = (draw.call(f, cost, a, b, eps=0.5, n_iter=8) for f in (twin, error_curve))
    return float(np.max(np.abs(found - truth)))


def _grid_softmins(twin: Callable[..., Any]) -> Check:
    return Check(
        "the reference on the same arrays",
        grid_softmins_agree,
        twin,
        {
            "half of eps": lambda grid, p, w, eps: grid_softmin(grid, p, w, 0.5 * eps),
            "weights dropped": lambda grid, p, w, eps: grid_softmin(grid, p, 0.0 * w + 1.0, eps),
        },
        roundings(300, "exponents up to 200, of which the reference keeps the rounding"),
        dimensions=(1, 2, 3),
    )


def grid_softmins_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Soft minima at the points of a grid of d axes for eps from 0.01 to 1."""
    grid = Grid(tuple(draw.rounded(draw.rng.uniform(0.0, 1.0, s)) for s in (5, 4, 3)[: draw.d]))
    w = np.stack([draw.weights(grid.size) for _ in range(3)])
    p, eps = 0.1 * draw.normal(3, grid.size), draw.rounded(np.array([0.01, 0.1, 1.0]))
    p = draw.rounded(p)
    return relative(draw.call(twin, grid, p, w, eps), draw.call(grid_softmin, grid, p, w, eps), 1.0)


def _clippings(twin: Callable[..., Any]) -> Check:
    def each_array(grads: Any, bound: float) -> Any:
        parts = {key: optim.clip_by_global_norm({key: part}, bound)[0][key] for key, part in grads.items()}
        return parts, optim.clip_by_global_norm(grads, bound)[1]

    return Check(
        "the reference on the same arrays",
        clippings_agree,
        twin,
        {"each array by itself": each_array, "not at all": lambda grads, bound: (grads, 0.0)},
        roundings(100, "a sum of squares"),
        dimensions=(1, 16),
    )


def clippings_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Gradients and norm, for bounds below and above the norm, and for none."""
    grads, worst = random_parameters(draw), 0.0
    for bound in (0.5, 1e6, math.inf):
        (result, norm), (wanted, truth) = (
            draw.call(function, grads, bound) for function in (twin, optim.clip_by_global_norm)
        )
        worst = worst_of(
            worst, abs(float(norm - truth)) / float(truth), _tree_error(result, wanted, _largest(wanted))
        )
    return worst


def _adams(twin: Callable[..., Any]) -> Check:
    def uncorrected(params: Any, grads: Any, state: optim.AdamState, *, learning_rate: float) -> Any:
        return optim.adam(params, grads, state._replace(steps=10**6), learning_rate=learning_rate)

    def uphill(params: Any, grads: Any, state: optim.AdamState, *, learning_rate: float) -> Any:
        return optim.adam(params, grads, state, learning_rate=-learning_rate)

    return Check(
        "the reference on the same arrays",
        adams_agree,
        twin,
        {"moments not corrected": uncorrected, "uphill": uphill},
        roundings(100, "a dozen operations, relative to the learning rate"),
        dimensions=(1, 16),
    )


def adams_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Parameters and moments of the third step of size 0.01, relative to it."""
    params, grads, first = (optim.tree_map(lambda p: 0.01 * p, random_parameters(draw)) for _ in range(3))
    second = optim.tree_map(lambda p: draw.rounded(draw.rng.uniform(1e-4, 3e-4, p.shape)), params)
    state = optim.AdamState(first, second, 2)
    results = [
        draw.call(function, params, grads, state, learning_rate=0.01) for function in (twin, optim.adam)
    ]
    (moved, after), (wanted, truth) = results
    if after.steps != truth.steps:
        return float("inf")
    errors = (_tree_error(after.first, truth.first, 0.01), _tree_error(after.second, truth.second, 1e-4))
    return worst_of(_tree_error(moved, wanted, 0.01), *errors)


def _averages(twin: Callable[..., Any]) -> Check:
    return Check(
        "the reference on the same arrays",
        averages_agree,
        twin,
        {"decay exchanged": lambda a, p, *, decay: optim.ema(a, p, decay=1.0 - decay)},
        roundings(30, "three operations"),
        dimensions=(1, 16),
    )


def averages_agree(twin: Callable[..., Any], draw: Draw) -> float:
    """Averages of all parameters."""
    average, params = random_parameters(draw), random_parameters(draw)
    result, truth = (draw.call(function, average, params, decay=0.9) for function in (twin, optim.ema))
    return _tree_error(result, truth, _largest(truth))


def _tree_error(tree: Any, truth: Any, scale: float) -> float:
    flat, wanted = optim.flatten(tree), optim.flatten(truth)
    if flat.keys() != wanted.keys():
        return float("inf")
    return worst_of(*(float(np.max(np.abs(flat[path] - wanted[path]))) for path in wanted)) / scale


def _largest(tree: Any) -> float:
    return worst_of(*(float(np.max(np.abs(leaf))) for leaf in optim.tree_leaves(tree)))
