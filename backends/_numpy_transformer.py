"""NumPy twin of the transformer: clouds of similar size together, each group on a core of its own.

NumPy's matrix products use all cores, but everything between them, half of the time, uses one. Clouds do not
depend on each other, so here every core takes its share of them, with matrix products on that core alone. The
live points of a group stand end to end, without padding, and layers write into memory that is there already.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import ThreadpoolController

from refwfm import networks
from refwfm.backends._numpy_layers import attention, dense, layer_norm, rectified_dense
from refwfm.backends._numpy_ops import _n_threads, _pool
from refwfm.networks import Params
from refwfm.networks._order import in_order
from refwfm.networks.conditioning import embed_condition
from refwfm.networks.features import with_features, without_gradient
from refwfm.networks.transformer import check_inputs
from refwfm.training.optim import Tree, tree_map

_ROWS = 1024  # points of a group: enough for fast matrix products, few enough to stay near the caches
_LOCK = Lock()  # the number of threads of NumPy's matrix products belongs to the process


class Group(NamedTuple):
    """Clouds computed together: their indices in the batch, and the rows that hold their live points."""

    index: np.ndarray
    n: int

    def at(self, live: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the live points (B, n) of these clouds are, cloud after cloud."""
        member, row = np.nonzero(live[self.index, : self.n])
        return self.index[member], row

    def of(self, points: np.ndarray, live: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Live points of these clouds end to end, and their number in each."""
        return points[self.at(live)], np.count_nonzero(live[self.index], axis=1)


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

    live = np.ones(points.shape[:2], dtype=bool) if mask is None else mask

    def forward(group: Group) -> tuple[np.ndarray, Callable[[np.ndarray], Params]]:
        some = None if labels is None else labels[group.index]
        return _tokens(params, *group.of(points, live), t[group.index], some, heads=heads)

    results = _on_all_cores(forward, groups)
    velocity = np.zeros_like(points)
    for group, (part, _) in zip(groups, results, strict=True):
        velocity[group.at(live)] = part

    def pullback(d_velocity: np.ndarray) -> Params:
        d_velocity = d_velocity.reshape(points.shape)

        def add_up(share: list[tuple[Group, Callable[[np.ndarray], Params]]]) -> Params:
            total = None
            for group, group_pullback in share:
                grads = group_pullback(d_velocity[group.at(live)])
                total = grads if total is None else _add(total, grads)
            return total

        parts = [(group, result[1]) for group, result in zip(groups, results, strict=True)]
        shares = [parts[i :: _n_threads()] for i in range(min(_n_threads(), len(parts)))]
        first, *others = _on_all_cores(add_up, shares)
        for other in others:
            first = _add(first, other)
        return first

    return velocity.reshape(shape), pullback


def _tokens(
    params: Params,
    points: np.ndarray,
    sizes: np.ndarray,
    t: np.ndarray,
    labels: np.ndarray | None,
    *,
    heads: int,
) -> tuple[np.ndarray, Callable[[np.ndarray], Params]]:
    """``networks.transformer`` of clouds of these sizes end to end, points (n, d)."""
    condition, condition_pullback = embed_condition(params, t, labels)
    ends = np.cumsum(sizes).tolist()
    h, in_pullback = dense(params["in"], with_features(params, points, points))
    pullbacks = {}
    for name, block in in_order(params["blocks"]):
        pullbacks[name] = _block(block, h, condition, sizes, ends, heads)
    unit, norm_pullback = layer_norm(params["norm"], h)
    velocity, out_pullback = dense(params["out"], unit)

    def pullback(d_velocity: np.ndarray) -> Params:
        d_out, d_unit = out_pullback(d_velocity)
        d_norm, d_h = norm_pullback(d_unit)
        d_blocks, d_condition = {}, np.zeros_like(condition)
        for name, block_pullback in reversed(pullbacks.items()):
            d_blocks[name], d_here = block_pullback(d_h)
            d_condition += d_here
        d_params = {"in": in_pullback(d_h)[0], "blocks": d_blocks, "norm": d_norm, "out": d_out}
        return {**d_params, **condition_pullback(d_condition), **without_gradient(params)}

    return velocity, pullback


def _block(
    params: Params, h: np.ndarray, condition: np.ndarray, sizes: np.ndarray, ends: list[int], heads: int
) -> Callable[[np.ndarray], tuple[Params, np.ndarray]]:
    """``networks.transformer_block``: ``h`` (n, width) is overwritten, and in the pullback its gradient."""
    shift, condition_pullback = dense(params["condition"], condition)
    h += np.repeat(shift, sizes, axis=0)
    unit, attention_norm_pullback = layer_norm(params["attention_norm"], h)
    read, attention_pullback = attention(params["attention"], unit, ends, heads=heads)
    h += read
    unit, feed_norm_pullback = layer_norm(params["feed_norm"], h)
    z, in_pullback = rectified_dense(params["feed"]["in"], unit)
    fed, out_pullback = dense(params["feed"]["out"], z)
    h += fed

    def pullback(d_h: np.ndarray) -> tuple[Params, np.ndarray]:
        d_out, d_z = out_pullback(d_h)
        d_in, d_unit = in_pullback(d_z)
        d_feed_norm, d_branch = feed_norm_pullback(d_unit)
        d_h += d_branch
        d_attention, d_unit = attention_pullback(d_h)
        d_attention_norm, d_branch = attention_norm_pullback(d_unit)
        d_h += d_branch
        d_shift = np.stack([np.add.reduce(d_h[i:j], axis=0) for i, j in pairwise([0, *ends])])
        d_dense, d_condition = condition_pullback(d_shift)
        d_params = {
            "condition": d_dense,
            "attention_norm": d_attention_norm,
            "attention": d_attention,
            "feed_norm": d_feed_norm,
            "feed": {"in": d_in, "out": d_out},
        }
        return d_params, d_condition

    return pullback


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
