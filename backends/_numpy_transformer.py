"""NumPy twin of the transformer: clouds of similar size together, each group on a core of its own.

NumPy's matrix products use all cores, but everything between them, half of the time, uses one. Clouds do not
depend on each other, so here every core takes its share of them through the whole of the reference, with
matrix products on that core alone. Sorted by size, clouds carry hardly any padding: it is cut off.
"""

from collections.abc import Callable, Sequence
from functools import cache
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from refwfm import networks
from refwfm.backends._numpy_ops import _n_threads, _pool
from refwfm.networks import Params
from refwfm.networks.transformer import check_inputs
from refwfm.training.optim import Tree, tree_map

_ROWS = 1024  # points of a group: enough for fast matrix products, few enough to stay near the caches
_LOCK = Lock()  # the number of threads of NumPy's matrix products belongs to the process


class Group(NamedTuple):
    """Clouds computed together: their indices in the batch, and the rows that hold their live points."""

    index: np.ndarray
    n: int


def transformer(
    params: Params,
    points: np.ndarray,
    mask: np.ndarray | None,
    t: np.ndarray,
    /,
    labels: np.ndarray | None = None,
    *,
    heads: int,
) -> tuple[np.ndarray, Callable[[np.ndarray], Params]]:
    """Twin of ``refwfm.networks.transformer``."""
    shape = points.shape
    if 0 in shape:
        return networks.transformer(params, points, mask, t, labels, heads=heads)
    points, mask, t, labels = check_inputs(params, points, mask, t, labels, heads=heads)
    groups = similar_sizes(mask, *points.shape[:2])

    def forward(group: Group) -> tuple[np.ndarray, Callable[[np.ndarray], Params]]:
        rows = group.index, slice(group.n)
        live = None if mask is None or mask[rows].all() else mask[rows]
        some = None if labels is None else labels[group.index]
        return networks.transformer(params, points[rows], live, t[group.index], some, heads=heads)

    results = _on_all_cores(forward, groups)
    velocity = np.zeros_like(points)
    for group, (part, _) in zip(groups, results, strict=True):
        velocity[group.index, : group.n] = part

    def pullback(d_velocity: np.ndarray) -> Params:
        d_velocity = d_velocity.reshape(points.shape)

        def add_up(share: list[tuple[Group, Callable[[np.ndarray], Params]]]) -> Params:
            total = None
            for group, group_pullback in share:
                grads = group_pullback(d_velocity[group.index, : group.n])
                total = grads if total is None else _add(total, grads)
            return total

        parts = [(group, result[1]) for group, result in zip(groups, results, strict=True)]
        shares = [parts[i :: _n_threads()] for i in range(min(_n_threads(), len(parts)))]
        first, *others = _on_all_cores(add_up, shares)
        for other in others:
            first = _add(first, other)
        return first

    return velocity.reshape(shape), pullback


def similar_sizes(mask: np.ndarray | None, batch: int, n: int, /) -> list[Group]:
    """Cut a batch into groups with about the same number of points, the largest clouds first."""
    sizes = np.full(batch, n)
    if mask is not None:
        sizes = np.where(mask.any(axis=1), n - np.argmax(mask[:, ::-1], axis=1), 1)
    order = np.argsort(-sizes, stable=True)
    ends = np.cumsum(sizes[order])
    # As many groups as the rows call for, a multiple of the cores where there are enough clouds.
    cores = _n_threads()
    count = min(batch, cores * max(1, round(ends[-1] / (_ROWS * cores))))
    number = (ends - 1) * count // ends[-1]
    members = (order[number == i] for i in range(count))
    return [Group(index, int(sizes[index[0]])) for index in members if index.size]


def _add(total: Tree, grads: Tree) -> Tree:
    """Add to ``total`` in place."""
    return tree_map(lambda a, b: np.add(a, b, out=a), total, grads)


def _on_all_cores(f: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """``[f(item) for item in items]``, each on one core."""

    def quietly(item: Any) -> Any:
        # NaN and infinity are passed on to whoever tests for them, without warnings from another thread.
        with np.errstate(all="ignore"):
            return f(item)

    if _n_threads() == 1 or len(items) == 1:
        return [quietly(item) for item in items]
    with _LOCK, _controller().limit(limits=1, user_api="blas"):
        return list(_pool().map(quietly, items))


@cache
def _controller() -> ThreadpoolController:
    """Find the libraries behind NumPy's matrix products, once."""
    return ThreadpoolController()
