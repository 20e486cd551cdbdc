"""Inner plans by name: where each point of a cloud goes in the cloud that it is paired with.

An inner plan is drawn from in one of two ways. By default every source point appears once: a permutation is
used as it is; from any other plan a target is drawn from the point's row, or the mean target is taken. With
``replace`` as many independent pairs are drawn from the plan as the source cloud has points, which is how the
paper forms its vectors (GWFM-29, C.2): of a permutation only ``1 - 1/e`` of the points then appear (C9).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from refwfm._array import Array, array_namespace, asarray_like, device, on_device_of, take_along, take_rows
from refwfm._derivatives import is_known
from refwfm.clouds import alike, check_cloud_pair, in_order
from refwfm.measures import PointCloud
from refwfm.transport.entropic import barycentric_projection
from refwfm.transport.exact import assignment, transport_plan
from refwfm.transport.plans import Pairs, argmax_matching, greedy_rounding, sample_pairs, sample_targets
from refwfm.transport.sinkhorn import Sinkhorn, log_plan, plan, sq_euclidean_cost
from refwfm.transport.sliced import lifted_plan, random_directions, sample_sliced_pairs, sorted_permutations


class Solver(Protocol):
    """Sinkhorn's solver with all its options set; it is given ``f_init`` where there is a start."""

    def __call__(  # noqa: D102
        self, cost: Array, a: Array, b: Array, /, *, f_init: Array = ...
    ) -> Sinkhorn: ...


InnerStart = Callable[[PointCloud, PointCloud, Array], Array]
"""From two batches of clouds and their cost to the potential, at the points of the first, to start at."""


class Coupled(NamedTuple):
    """Points in pairs: ``x[k]`` goes to ``y[k]`` with mass ``weights[k]``.

    Attributes
    ----------
    x, y : array, shape (B, n, d), zeros at padding
    weights : array, shape (B, n)
    error : array, shape ()
        L1 marginal error of the worst plan behind them; 0 for exact ones.
    n_iter : int
        Iterations of Sinkhorn for the slowest of these plans; 0 where there are none.
    """

    x: Array
    y: Array
    weights: Array
    error: Array
    n_iter: int = 0


BLOCK = 2**23
"""Entries of the costs of exact plans that are made at a time (or those of one pair of clouds)."""


class Options(NamedTuple):
    """What inner plans need besides the clouds; see ``couple``."""

    rng: np.random.Generator
    solve: Solver
    n_proj: int
    replace: bool
    start: InnerStart | None
    whole: tuple[PointCloud, PointCloud]
    draws: np.random.Generator

    def permutable(self) -> bool:
        """Whether the plans of the batch can be permutations."""
        return alike(*self.whole)

    def sorted(self) -> bool:
        """Whether the clouds of the batch can be vectors."""
        return in_order(*self.whole)


class _Draws(np.random.Generator):
    """What some members of a batch get of the numbers that are drawn for all: rows of arrays (b, ...)."""

    def __init__(self, rng: np.random.Generator, members: slice, size: int) -> None:
        super().__init__(rng.bit_generator)
        self.members, self.size = members, size

    def random(self, size: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        return super().random((self.size, *size[1:]))[self.members]

    def integers(self, high: int, size: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        return super().integers(high, size=(self.size, *size[1:]))[self.members]


class Evidence(NamedTuple):
    """Of the plans of a batch: the largest marginal error, the most iterations."""

    error: Array
    n_iter: int


def couple(
    x: PointCloud,
    y: PointCloud,
    inner: str,
    /,
    *,
    rng: np.random.Generator,
    solve: Solver,
    n_proj: int = 64,
    replace: bool = False,
    start: InnerStart | None = None,
    members: slice | None = None,
) -> Coupled:
    """Send every point of each cloud of x somewhere in the cloud of y that it is paired with.

    Equation: GWFM-27, GWFM-28, GWFM-25, GWFM-C4, GWFM-C5. Algorithm 1's map T̂, by the name of ``inner``:

    ===============  ==================================================================================
    ``exact``        optimal assignment; clouds of different sizes: mean target of the optimal plan
    ``rounded``      entropic plan rounded to a permutation (WFM-A.1); needs clouds alike in size
    ``entropic``     entropic map, the mean target of the entropic plan (WFM-13)
    ``argmax``       likeliest target of the entropic plan
    ``sampled``      a target drawn from the point's row of the entropic plan
    ``sliced``       a target drawn from the point's row of the sliced plan (GWFM-106)
    ``independent``  at random: a permutation for clouds alike in size, else targets drawn by weight
    ``linear``       point i to point i, sources and targets both aligned to one reference (GWFM-34); needs
                     clouds alike in size
    ``lazy``         point i to point i, of targets aligned to a reference and sources that come in its order
                     by themselves (C.5); needs clouds alike in size
    ===============  ==================================================================================

    Parameters
    ----------
    x, y : PointCloud, points (B, n, d) and (B, m, d); padding is zeros, at the end
    inner : str
        A key of ``INNER``.
    rng : numpy.random.Generator
        For all that is drawn.
    solve : callable
        Solver of the entropic plans.
    n_proj : int
        Directions of the sliced plan, the same for all clouds.
    replace : bool
        Draw pairs from the plan, with replacement: for ``sampled``, ``sliced``, ``independent`` and, between
        different sizes, ``exact``. Where the plan is a map, they come from its graph. ``linear`` and ``lazy``
        are pairings of indices, which are not drawn (C.5).
    start : callable, optional
        Where the solver starts; at zeros when left out.
    members : slice, optional
        Pairs of clouds to couple, some of x and y; all when left out. They are coupled as they would be with
        the others: these may have other sizes, and numbers are drawn for them, too.

    Raises
    ------
    TypeError
        If x or y is no ``PointCloud`` of one floating dtype.
    ValueError
        If ``inner`` is no plan, shapes disagree, or ``rounded``, ``linear`` or ``lazy`` gets clouds of
        different sizes or weights. Values are not checked: this is part of every training step. NaN among the
        points stays NaN in the images, or raises where an order or a draw would hide it. Checks of
        shapes and weights take 0.3 to 0.6 ms on torch, for which ``linear`` takes 1.7 times as long.

    Examples
    --------
    >>> x, y = (PointCloud(np.asarray(p)[None, :, None], np.full((1, 2), 0.5)) for p in ([0.0, 1], [5.0, 4]))
    >>> couple(x, y, "exact", rng=np.random.default_rng(0), solve=None).y.tolist()  # nothing to solve
    [[[4.0], [5.0]]]
    """
    if inner not in INNER:
        raise ValueError(f"inner = {inner!r} is no plan; those are {', '.join(INNER)}")
    x, y = check_cloud_pair(x, y, validate=False)
    if x.points.ndim != 3 or x.points.shape[0] != y.points.shape[0]:
        raise ValueError(
            "x and y must be batches of equally many clouds, points (B, n, d) and (B, m, d); "
            f"got {tuple(x.points.shape)} and {tuple(y.points.shape)}"
        )
    whole, size = (x, y), x.points.shape[0]
    draws = rng
    if members is not None and members != slice(0, size):
        x, y = (PointCloud(*(part[members, ...] for part in cloud)) for cloud in whole)
        draws = _Draws(rng, members, size)
    return INNER[inner](x, y, Options(rng, solve, n_proj, replace, start, whole, draws))


# The plans


def _exact(x: PointCloud, y: PointCloud, options: Options) -> Coupled:
    if options.permutable():
        return _mapped(x, _in_blocks(_assigned, x, y), _no_error(x), options)
    if options.replace:
        optimal = transport_plan(sq_euclidean_cost(x.points, y.points), x.weights, y.weights).plan
        return _drawn_from(optimal, x, y, _no_error(x), options)
    return _mapped(x, _in_blocks(_mean_targets, x, y), _no_error(x), options)


def _assigned(x: PointCloud, y: PointCloud) -> Array:
    cost = sq_euclidean_cost(x.points, y.points)
    return take_rows(y.points, assignment(cost, x.weights, y.weights))


def _mean_targets(x: PointCloud, y: PointCloud) -> Array:
    cost = sq_euclidean_cost(x.points, y.points)
    return barycentric_projection(transport_plan(cost, x.weights, y.weights).plan, y.points)


def _in_blocks(images: Callable[[PointCloud, PointCloud], Array], x: PointCloud, y: PointCloud) -> Array:
    """Images (B, n, d) of points, of so many pairs of clouds at a time that ``BLOCK`` bounds their costs."""
    size, n = x.weights.shape
    step = max(1, BLOCK // max(1, n * y.weights.shape[-1]))
    if step >= size:
        return images(x, y)
    blocks = (slice(start, min(start + step, size)) for start in range(0, size, step))
    parts = [
        images(*(PointCloud(*(part[rows, ...] for part in cloud)) for cloud in (x, y))) for rows in blocks
    ]
    return array_namespace(x.points).concat(parts, axis=0)


def _rounded(x: PointCloud, y: PointCloud, options: Options) -> Coupled:
    if not options.permutable():
        raise ValueError(
            "inner = 'rounded' needs pairs of clouds of equal size and uniform weights; "
            "use 'entropic' or 'exact' for others"
        )
    cost, solution = _solved(x, y, options)
    logs = log_plan(cost, x.weights, y.weights, solution)  # -inf at padding, which goes to padding then
    return _mapped(x, take_rows(y.points, greedy_rounding(logs)), _worst(solution), options)


def _entropic(x: PointCloud, y: PointCloud, options: Options) -> Coupled:
    cost, solution = _solved(x, y, options)
    means = barycentric_projection(plan(cost, x.weights, y.weights, solution), y.points)
    return _mapped(x, means, _worst(solution), options)


def _argmax(x: PointCloud, y: PointCloud, options: Options) -> Coupled:
    cost, solution = _solved(x, y, options)
    logs = log_plan(cost, x.weights, y.weights, solution)
    return _mapped(x, take_rows(y.points, argmax_matching(logs)), _worst(solution), options)


def _sampled(x: PointCloud, y: PointCloud, options: Options) -> Coupled:
    cost, solution = _solved(x, y, options)
    entropic = plan(cost, x.weights, y.weights, solution)
    if options.replace:
        return _drawn_from(entropic, x, y, _worst(solution), options)
    return _mapped(
        x, take_rows(y.points, sample_targets(entropic, rng=options.draws)), _worst(solution), options
    )


def _sliced(x: PointCloud, y: PointCloud, options: Options) -> Coupled:
    theta = random_directions(x.points, rng=options.rng, n_proj=options.n_proj)
    if options.replace:
        size = x.weights.shape[-1]
        pairs = sample_sliced_pairs(x, y, theta, rng=options.draws, size=size, validate=False)
        return _paired(x, y, pairs, _no_error(x))
    if options.sorted():  # the row of point i: its targets along all directions
        perms = sorted_permutations(x, y, theta, validate=False)  # (B, K, n)
        batch, _, n = perms.shape
        xp = array_namespace(perms)
        direction = on_device_of(perms, options.draws.integers(options.n_proj, size=(batch, n)))
        cells = direction * n + xp.arange(n, dtype=direction.dtype, device=device(perms))
        targets = take_along(xp.reshape(perms, (batch, -1)), cells)
    else:
        targets = sample_targets(lifted_plan(x, y, theta, validate=False), rng=options.draws)
    return _mapped(x, take_rows(y.points, targets), _no_error(x), options)


def _independent(x: PointCloud, y: PointCloud, options: Options) -> Coupled:
    xp = array_namespace(x.points)
    if options.replace:
        size = x.weights.shape[-1]
        source, target = (
            sample_targets(
                xp.broadcast_to(cloud.weights[:, None, :], (cloud.weights.shape[0], size, n)),
                rng=options.draws,
            )
            for cloud, n in ((x, size), (y, y.weights.shape[-1]))
        )
        return _paired(x, y, Pairs(source, target), _no_error(x))
    if not options.permutable():
        rows = xp.broadcast_to(y.weights[:, None, :], (*x.weights.shape, y.weights.shape[-1]))
        return _mapped(x, take_rows(y.points, sample_targets(rows, rng=options.draws)), _no_error(x), options)
    # Live points get a random order, and stay before the padding.
    order = asarray_like(options.draws.random(y.weights.shape), y.weights) + xp.astype(
        y.weights == 0, y.weights.dtype
    )
    return _mapped(x, take_rows(y.points, xp.argsort(order, axis=-1)), _no_error(x), options)


def _by_index(x: PointCloud, y: PointCloud, options: Options) -> Coupled:
    if not options.sorted():
        raise ValueError(
            "inner = 'linear' and 'lazy' pair points by their index: they need clouds of equal size without "
            "padding and with uniform weights, in the order of one reference; use 'sliced', 'exact' or "
            "'entropic' for others"
        )
    return Coupled(x.points, y.points, x.weights, *_no_error(x))


INNER: dict[str, Callable[[PointCloud, PointCloud, Options], Coupled]] = {
    "independent": _independent,
    "exact": _exact,
    "rounded": _rounded,
    "entropic": _entropic,
    "argmax": _argmax,
    "sampled": _sampled,
    "sliced": _sliced,
    "linear": _by_index,
    "lazy": _by_index,
}


ENTROPIC = ("rounded", "entropic", "argmax", "sampled")
"""Those that Sinkhorn's iteration solves."""


def _solved(x: PointCloud, y: PointCloud, options: Options) -> tuple[Array, Sinkhorn]:
    """Cost of each pair, and the solution of its entropic transport."""
    cost = sq_euclidean_cost(x.points, y.points)
    if options.start is None:
        return cost, options.solve(cost, x.weights, y.weights)
    return cost, options.solve(cost, x.weights, y.weights, f_init=options.start(x, y, cost))


# From a plan to pairs of points


def _mapped(x: PointCloud, images: Array, evidence: Evidence, options: Options) -> Coupled:
    """Each point and its image, or as many pairs drawn from these."""
    xp = array_namespace(images)
    weights, live = x.weights, x.weights > 0
    if not is_known(live):
        images = xp.where(live[..., None], images, 0.0)
    if not options.replace:
        return Coupled(x.points, images, weights, *evidence)
    rows = xp.broadcast_to(weights[:, None, :], (*weights.shape, weights.shape[-1]))
    chosen = sample_targets(rows, rng=options.draws)
    return _paired(x, PointCloud(images, weights), Pairs(chosen, chosen), evidence)


def _drawn_from(plan: Array, x: PointCloud, y: PointCloud, evidence: Evidence, options: Options) -> Coupled:
    """As many pairs as x has points, drawn from a plan (B, n, m) with replacement."""
    xp = array_namespace(plan)
    plan = plan / xp.sum(plan, axis=(-2, -1), keepdims=True)  # one that has not converged has another mass
    return _paired(x, y, sample_pairs(plan, x.weights.shape[-1], rng=options.draws), evidence)


def _paired(x: PointCloud, y: PointCloud, pairs: Pairs, evidence: Evidence) -> Coupled:
    """The first pairs of each cloud, as many as x has points, all of one weight."""
    xp = array_namespace(x.weights)
    n = x.weights.shape[-1]
    count = xp.astype(xp.count_nonzero(x.weights > 0, axis=-1, keepdims=True), x.weights.dtype)
    index = xp.arange(n, dtype=x.weights.dtype, device=device(x.weights))
    live = index < count
    starts, ends = (
        xp.where(live[..., None], take_rows(cloud.points, chosen), 0.0)
        for cloud, chosen in zip((x, y), pairs, strict=True)
    )
    return Coupled(starts, ends, xp.where(live, 1.0 / count, 0.0), *evidence)


def _no_error(x: PointCloud) -> Evidence:
    xp = array_namespace(x.points)
    return Evidence(xp.zeros((), dtype=x.points.dtype, device=device(x.points)), 0)


def _worst(solution: Sinkhorn) -> Evidence:
    xp = array_namespace(solution.row_error)
    return Evidence(xp.max(xp.maximum(solution.row_error, solution.col_error)), solution.n_iter)
