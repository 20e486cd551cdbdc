"""Where Sinkhorn starts: ours from a prediction of Meta OT against OTT-JAX and POT; and in training.

**Pairs of images**, 20 of them as one batch, 28 x 28 pixels, squared distances on the unit square, eps 0.01,
float32: MNIST's digits with ``REFWFM_DATA`` set, otherwise drawn strokes. All sides are given the pixels that
weigh something, padded to the largest number of them. OTT is compiled beforehand for all pairs at once, with
its own Gaussian initialiser where ours starts from the Gaussian potential or the network's; POT goes through
the pairs one after the other and is given our start as its ``warmstart`` for nothing, while the computation
of a start is part of our time: for the prediction also the check that it is worth more than zeros. The
network is trained here, for a minute or less, on other pairs, as a correction of the Gaussian potential.
Iterations are those of plain Sinkhorn with a look at the error after each, the mean over the pairs; our
solver over-relaxes and needs fewer. Errors are the larger L1 error of the two marginals of the worst pair,
recomputed in float64; all solvers stop at the same.

**Inner plans**: what three steps of training draw, plans included, on digits (with ``REFWFM_DATA``; otherwise
fours) and niches, 32 clouds each, at the paper's eps of 0.002 times the largest cost: to a marginal error
of 1e-2, and with the paper's 200 iterations. Iterations are those of a step's slowest plan.

What came out, on one thread of a busy Intel Xeon. *Images*: the prediction needs 10.9 iterations to 1e-2,
the Gaussian start 15.9, zeros 18.5 (to 1e-3: 31.4, 38.9, 40.2). In two runs ours was 4 to 21 times as fast
as OTT-JAX and 5 to 31 times as POT from the like start. But over-relaxed it saves too few iterations for
the price of a start: from the prediction, with its check, it takes 1.7 to 2.7 times the time that it takes
from zeros, from the Gaussian start 0.9 to 2 times.

*Inner plans*: the Gaussian start pays. To 1e-2 the plans of a step take 36 iterations instead of 43 and are
1.3 times as fast (MNIST), 144 instead of 248 and 1.5 times (niches); in 200 iterations the worst error
falls from 0.012 to 0.0045 and from 0.021 to 0.0074, at the same price. The amortised start does not pay: 36
and 161 iterations, no fewer than from the Gaussian start that it corrects (what is left is, probably, the
noise of the points drawn); prediction and check make it slower (0.24 instead of 0.12 s a step on MNIST,
0.11 instead of 0.10 s on niches), besides 0.5 and 0.06 s for each of the 500 steps of its training. The
default transformer needs 7 and 0.9 s for the rest of such a step.
"""

import math
import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from refwfm import datasets
from refwfm.backends import load
from refwfm.backends._grids import grid_softmin
from refwfm.backends._numpy_sinkhorn import sinkhorn
from refwfm.datasets.pairs import image_histograms, image_pairs, mnist_histograms, stroke_images
from refwfm.measures import PointCloud
from refwfm.meta.potentials import init_potential_mlp, loss_and_grad, potential_mlp
from refwfm.training import clouds, optim
from refwfm.training.config import CloudConfig
from refwfm.training.optim import Tree
from refwfm.transport.gaussian_start import gaussian_potential
from refwfm.transport.grids import grid_points, unit_grid
from refwfm.transport.sinkhorn import Sinkhorn, sq_euclidean_cost
from refwfm.transport.starts import error_curve, iterations_to, warm_sinkhorn
from refwfm.validation.bench.measure import Row, compare
from refwfm.validation.textbook import pot_gaussian

EPS, TOLERANCES = 1e-2, (1e-2, 1e-3)
PAIRS, SIDE = 20, 28
STEPS, BATCH, WIDTH, LEARNING_RATE = 600, 32, 512, 1e-3
SLOW = 3
"""How often what takes long is worth repeating at most."""

CONFIG = CloudConfig(batch=32)
DRAWN = 3
"""Steps of training that are drawn in one timed call."""


def rows(repeats: int = 5) -> list[Row]:
    """Time ours and a peer's in turns; raise if an error of ours is above the tolerance."""
    return [*image_rows(repeats), *inner_rows(repeats)]


# Pairs of images


class Pairs(NamedTuple):
    """Histograms (pairs, pixels), the clouds of their live pixels, which pixels these are, and the cost."""

    a: np.ndarray
    b: np.ndarray
    x: PointCloud
    y: PointCloud
    index: np.ndarray
    cost: np.ndarray


def image_rows(repeats: int) -> list[Row]:
    """Ours from each start against both peers."""
    histograms = {part: draw_histograms(part) for part in ("train", "test")}
    params = fit(histograms["train"])
    pairs = make(*image_pairs(histograms["test"], PAIRS, seed=1, step=0))
    starts: dict[str, Callable[[], np.ndarray | None]] = {
        "Meta OT": partial(predict, params, pairs),
        "Gaussian start": lambda: gaussian_potential(pairs.x, pairs.y),
        "zeros": lambda: None,
    }
    found = []
    for tol in TOLERANCES:
        for name, start in starts.items():
            f = start()
            initialiser = "default initialiser" if f is None else "GaussianInitializer"
            peers: dict[str, Callable[[], Any]] = {
                f"OTT-JAX, {initialiser}": ott(pairs, tol, gaussian=f is not None),
                "POT sinkhorn_log" + ("" if f is None else ", warmstart"): partial(pot, pairs, tol, f),
            }
            if f is not None:
                peers["ours from zeros"] = partial(solve, pairs, tol, lambda: None, checked=False)
            case = f"{PAIRS} pairs to {tol:g}, {name}, {mean_iterations(pairs, tol, f):.1f} iterations"
            for peer, function in peers.items():
                found.append(
                    compare(
                        case,
                        partial(solve, pairs, tol, start, checked=name == "Meta OT"),
                        function,
                        peer,
                        repeats=min(repeats, SLOW),
                        error=lambda mine, theirs, tol=tol: (
                            worst_error(pairs, mine.f, mine.g, required=tol),
                            worst_error(pairs, theirs[0], theirs[1]),
                        ),
                    )
                )
    return found


def draw_histograms(part: str) -> np.ndarray:
    """Images as histograms (N, pixels), float32, to train on or held out."""
    if os.environ.get("REFWFM_DATA") and SIDE == 28:
        return mnist_histograms(part).astype(np.float32)
    images = stroke_images(2000, seed=0, step=0 if part == "train" else 1, side=SIDE)
    return image_histograms(images).astype(np.float32)


def fit(histograms: np.ndarray) -> Tree:
    """Train a network that corrects the Gaussian potential (META-OT-4)."""
    grid = unit_grid((SIDE, SIDE), like=histograms[:0])
    points, n = grid_points(grid), histograms.shape[1]
    rng = np.random.default_rng(0)
    params = init_potential_mlp(rng, n, n, like=histograms[:0], width=WIDTH, out_scale=0.0)
    state, ops = optim.init_adam(params), load("numpy").ops
    for step in range(STEPS):
        a, b = image_pairs(histograms, BATCH, seed=0, step=step)
        baseline = gaussian_potential(
            *(PointCloud(np.broadcast_to(points, (*w.shape, 2)), w) for w in (a, b))
        )
        _, grads = loss_and_grad(params, a, b, grid, eps=EPS, baseline=baseline, minimum=grid_softmin)
        grads, _ = ops.clip_by_global_norm(grads, 1.0)
        rate = LEARNING_RATE * 0.5 * (1.0 + math.cos(math.pi * step / STEPS))
        params, state = ops.adam(params, grads, state, learning_rate=rate)
    return params


def make(a: np.ndarray, b: np.ndarray) -> Pairs:
    """Clouds of the pixels that weigh something, with padding."""
    points = grid_points(unit_grid((SIDE, SIDE), like=a[:0]))
    places = [live_pixels(weights) for weights in (a, b)]
    x, y = (
        PointCloud(points[index], np.where(live, np.take_along_axis(weights, index, axis=1), 0.0))
        for weights, (index, live) in zip((a, b), places, strict=True)
    )
    return Pairs(a, b, x, y, places[0][0], sq_euclidean_cost(x.points, y.points))


def live_pixels(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (pairs, n) of the pixels that weigh something, and which entries are no padding."""
    most = int(np.max(np.count_nonzero(weights, axis=1)))
    index = np.argsort(weights == 0, axis=1, kind="stable")[:, :most]
    return index, np.take_along_axis(weights, index, axis=1) > 0


def predict(params: Tree, pairs: Pairs) -> np.ndarray:
    """Potential at the live pixels of a: that between Gaussians, and the network's correction."""
    correction = potential_mlp(params, pairs.a, pairs.b)[0]
    return gaussian_potential(pairs.x, pairs.y) + np.take_along_axis(correction, pairs.index, axis=1)


def solve(pairs: Pairs, tol: float, start: Callable[[], np.ndarray | None], *, checked: bool) -> Sinkhorn:
    """The NumPy backend's twin from a start, which is checked if that is asked for."""
    problem, f = (pairs.cost, pairs.x.weights, pairs.y.weights), start()
    if checked and f is not None:
        return warm_sinkhorn(*problem, f, eps=EPS, tol=tol, solver=sinkhorn).solution
    return sinkhorn(*problem, eps=EPS, tol=tol, f_init=f)


def mean_iterations(pairs: Pairs, tol: float, f: np.ndarray | None) -> float:
    """Iterations of plain Sinkhorn to a marginal error, mean over the pairs; infinite if 300 are too few."""
    start = np.zeros_like(pairs.a)
    np.put_along_axis(start, pairs.index, 0.0 if f is None else f, axis=1)
    options = {"eps": EPS, "n_iter": 300, "f_init": start, "minimum": grid_softmin}
    curve = error_curve(unit_grid((SIDE, SIDE), like=start[:0, 0]), pairs.a, pairs.b, **options)
    count = iterations_to(curve, tol)
    return float(np.mean(count)) if np.all(count > 0) else math.inf


def ott(pairs: Pairs, tol: float, *, gaussian: bool) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """OTT's solver, compiled, as a function without arguments that returns potentials in our convention.

    It is compiled with JAX in float32, its default and the dtype of the pairs: where the process has switched
    JAX to float64, OTT's initialiser for Gaussians has branches of different dtypes.
    """
    import jax
    from ott.geometry import pointcloud
    from ott.initializers.linear import initializers
    from ott.problems.linear import linear_problem
    from ott.solvers.linear import sinkhorn as peer

    chosen = initializers.GaussianInitializer() if gaussian else initializers.DefaultInitializer()
    solver = peer.Sinkhorn(threshold=tol, max_iterations=10_000, initializer=chosen)

    def one(x: Any, y: Any, a: Any, b: Any) -> Any:
        geometry = pointcloud.PointCloud(x, y, epsilon=EPS)
        out = solver(linear_problem.LinearProblem(geometry, a=a, b=b))
        return out.f, out.g

    (x, a), (y, b) = pairs.x, pairs.y
    arrays = [jax.numpy.asarray(part) for part in (x, y, a, b)]
    chosen_precision = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    try:
        compiled = jax.jit(jax.vmap(one)).lower(*arrays).compile()
    finally:
        jax.config.update("jax_enable_x64", chosen_precision)
    jax.block_until_ready(compiled(*arrays))
    with np.errstate(divide="ignore"):
        logs = [EPS * np.log(weights) for weights in (a, b)]

    def run() -> tuple[np.ndarray, np.ndarray]:
        found = jax.block_until_ready(compiled(*arrays))
        f, g = (
            np.where(np.isfinite(log), np.asarray(part) - np.where(np.isfinite(log), log, 0.0), 0.0)
            for part, log in zip(found, logs, strict=True)
        )
        return f, g

    return run


def pot(pairs: Pairs, tol: float, start: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """POT's iteration, one pair after the other, between the pixels that weigh something."""
    pot_gaussian()  # imports POT without the array libraries it would pull in
    solver = import_module("ot").sinkhorn
    f, g = np.zeros_like(pairs.x.weights), np.zeros_like(pairs.y.weights)
    for i, cost in enumerate(pairs.cost):
        live = [cloud.weights[i] > 0 for cloud in (pairs.x, pairs.y)]
        a, b = (cloud.weights[i][part] for cloud, part in zip((pairs.x, pairs.y), live, strict=True))
        options = {}
        if start is not None:
            options["warmstart"] = (start[i][live[0]] / EPS + np.log(a), np.zeros_like(b))
        log = solver(
            *(a, b, cost[np.ix_(*live)], EPS),
            method="sinkhorn_log",
            stopThr=tol / len(b) ** 0.5,  # its L2 norm: at most this L1 error
            numItermax=10_000,
            log=True,
            **options,
        )[1]
        f[i, live[0]], g[i, live[1]] = (
            EPS * (log[name] - np.log(weights)) for name, weights in (("log_u", a), ("log_v", b))
        )
    return f, g


def worst_error(pairs: Pairs, f: np.ndarray, g: np.ndarray, *, required: float = math.inf) -> float:
    """Largest L1 error of a marginal, over all pairs, in float64; raise if it is not what was required."""
    a, b = (cloud.weights.astype(np.float64) for cloud in (pairs.x, pairs.y))
    exponents = (f.astype(np.float64)[:, :, None] + g[:, None, :] - pairs.cost) / EPS
    plans = a[:, :, None] * b[:, None, :] * np.exp(exponents)
    errors = [np.sum(np.abs(plans.sum(axis=axis) - w), axis=1) for axis, w in ((2, a), (1, b))]
    worst = float(np.max(errors))
    if not worst < 1.2 * required and required < math.inf:  # float32's rounding of the potentials is in it
        raise RuntimeError(f"our marginal error is {worst:.3g}, wanted {required:g}")
    return worst


# Inner plans


def inner_rows(repeats: int) -> list[Row]:
    """What some steps draw, from the Gaussian potential and from a prediction, against zeros."""
    found = []
    for name in ("mnist" if os.environ.get("REFWFM_DATA") else "fours", "niches-clouds"):
        family, place = datasets.load(name), load("numpy")
        runs = {}
        for start in ("zeros", "gaussian", "amortised"):
            config = CloudConfig(**{**vars(CONFIG), "inner_start": start})
            runs[start] = clouds.prepare(config, family, None, place.asarray)
        for goal, options in (
            ("to 0.01", {"inner_tol": 1e-2, "sinkhorn_steps": 10_000}),
            ("200 iterations", {}),
        ):
            draws = {
                start: partial(drawn, {**options, "inner_start": start}, *run, family.labels)
                for start, run in runs.items()
            }
            counts = {start: np.mean([b.plan_iterations for b in draw()]) for start, draw in draws.items()}
            for start in ("gaussian", "amortised"):
                found.append(
                    compare(
                        f"plans of {DRAWN} steps, {name}, {goal}: {start}, {counts[start]:.0f} iterations",
                        draws[start],
                        draws["zeros"],
                        f"zeros, {counts['zeros']:.0f} iterations",
                        repeats=min(repeats, SLOW),
                        error=lambda ours, peer: (error_of(ours), error_of(peer)),
                    )
                )
    return found


def drawn(options: dict[str, Any], setting: Any, family: Any, labels: np.ndarray | None) -> list[Any]:
    """Batches of some steps."""
    config = CloudConfig(**{**vars(CONFIG), **options})
    ops = load("numpy").ops
    return [clouds.draw_batch(config, setting, family, labels, step, ops=ops) for step in range(DRAWN)]


def error_of(batches: list[Any]) -> float:
    """Marginal error of the worst plan."""
    return max(float(batch.plan_error) for batch in batches)
