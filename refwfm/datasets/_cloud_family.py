"""A family of point clouds: N clouds of their own sizes, stored end to end."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from refwfm.clouds import grid_spacing, pad
from refwfm.datasets._basis import Basis
from refwfm.datasets._family import (
    check_cells,
    check_conditions,
    check_index,
    check_labels,
    check_members,
    facts_at,
)
from refwfm.datasets._stored import StoredRows, blocks
from refwfm.measures import PointCloud


@dataclass(frozen=True, kw_only=True, eq=False)
class CloudFamily:
    """N point clouds on R^d, each of its own size, and what is known about them.

    Attributes
    ----------
    name : str
    points : float64 array (total, d)
        Cloud i is ``points[offsets[i]:offsets[i + 1]]``. Units: see ``about``. Of a family in a folder they
        stay there, and what is asked for is read.
    offsets : int64 array (N + 1,)
        From 0 to total, increasing: no cloud is empty.
    weights : float64 array (total,), or None
        Positive, with sum 1 in each cloud; None when all points of a cloud weigh the same.
    labels : int64 array (N,), or None
        ``label_names[labels[i]]`` is the class of member i.
    label_names : tuple of str
    members : tuple of N str, or empty
        The name of every member.
    about : str
        What a member is, its units, its source and its licence.
    groups, basis, conditions, condition_names
        See ``Family``.

    Raises
    ------
    TypeError
        If points, weights or conditions are not real numbers, or offsets or labels not integers.
    ValueError
        If the family or a cloud is empty, a shape disagrees, a value is not finite, a weight is not
        positive, weights do not sum to 1, or a label has no name.
    """

    name: str
    points: NDArray[np.float64]
    offsets: NDArray[np.int64]
    weights: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    about: str = ""
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    basis: Basis | None = None
    conditions: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    condition_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        points: Any = self.points if isinstance(self.points, StoredRows) else np.asarray(self.points)
        offsets = np.asarray(self.offsets)
        if points.ndim != 2 or points.shape[1] == 0:
            raise ValueError(
                f"family {self.name!r}: points must have shape (total, d) with d >= 1; got {points.shape}"
            )
        if points.dtype.kind not in "fiu":
            raise TypeError(f"family {self.name!r}: points must be real numbers; got {points.dtype}")
        offsets = _check_offsets(self.name, offsets, len(points))
        if isinstance(points, np.ndarray):
            points = points.astype(np.float64, copy=False)
        _check_finite(self.name, points, offsets)
        n = len(offsets) - 1
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "offsets", offsets)
        object.__setattr__(self, "weights", _check_weights(self.name, self.weights, offsets))
        object.__setattr__(self, "labels", check_labels(self.name, self.labels, self.label_names, n))
        object.__setattr__(self, "conditions", check_conditions(self, n))
        check_members(self.name, self.members, n, "clouds")
        check_cells(self, n)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def dimension(self) -> int:
        """The dimension d of the space the points live in."""
        return int(self.points.shape[1])

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of points of every cloud, shape (N,)."""
        return np.diff(self.offsets)

    @property
    def grid(self) -> tuple[float, ...]:
        """Spacing of the grid that the points lie on, by coordinate; 0 where there is none."""
        few = self.points[:10_000].T  # mostly enough to see that there is none
        return tuple(
            grid_spacing(all_of) if grid_spacing(some) else 0.0
            for some, all_of in zip(few, self.points.T, strict=True)
        )

    def cloud(self, i: int, /) -> PointCloud:
        """Cloud i, points (n_i, d) and weights (n_i,): no padding."""
        (i,) = check_index(self.name, [i], len(self))
        rows = slice(self.offsets[i], self.offsets[i + 1])
        points = self.points[rows]
        weights = np.full(len(points), 1.0 / len(points)) if self.weights is None else self.weights[rows]
        return PointCloud(points, weights)

    def subset(self, index: Any, /) -> Self:
        """The members at these positions (integers, or one bool for each), in that order."""
        chosen = check_index(self.name, index, len(self))
        sizes = self.sizes[chosen]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        if isinstance(self.points, StoredRows):
            weights: Any = self.weights
            weights = weights.of(chosen) if isinstance(weights, StoredRows) else weights
            stored: Any = {"points": self.points.of(chosen), "weights": weights}
            return replace(self, offsets=offsets, **stored, **facts_at(self, chosen))
        # Row j of the subset is row j of the family, shifted by as much as the start of its cloud is.
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], sizes)
        return replace(
            self,
            points=self.points[rows],
            offsets=offsets,
            weights=None if self.weights is None else self.weights[rows],
            **facts_at(self, chosen),
        )

    def batch(
        self,
        index: Any,
        /,
        *,
        n_points: int | None = None,
        rng: np.random.Generator | None = None,
        size: int = 0,
    ) -> PointCloud:
        """The clouds at these positions in one padded batch, the larger ones thinned to ``n_points``.

        Parameters
        ----------
        index : (B,) integers, B >= 1
            Positions of members; one may come more than once.
        n_points : int, optional
            A larger cloud is replaced by this many of its points, drawn without replacement, all equally
            likely; their weights are scaled to sum to 1 again. When left out all points are kept.
        rng : numpy.random.Generator
            Needed when a cloud is larger than ``n_points``.
        size : int
            Rows of the batch, if more than its largest cloud has.

        Returns
        -------
        PointCloud of NumPy float64, points (B, n, d), weights (B, n)
            Rows of weight 0 fill up the smaller clouds; they are never drawn.
        """
        if n_points is not None and n_points < 1:
            raise ValueError(f"n_points must be at least 1; got {n_points}")
        rows = [self._rows(i, n_points, rng) for i in check_index(self.name, index, len(self))]
        weights = None
        if self.weights is not None:
            weights = [self.weights[r] / self.weights[r].sum() for r in rows]
        return pad([self.points[r] for r in rows], weights=weights, size=size)

    def _rows(self, i: int, n_points: int | None, rng: np.random.Generator | None) -> Any:
        """Rows of cloud i in ``points``: a slice, or a draw of ``n_points`` of them."""
        start, stop = self.offsets[i], self.offsets[i + 1]
        if n_points is None or stop - start <= n_points:
            return slice(start, stop)
        if rng is None:
            raise ValueError(
                f"cloud {i} of family {self.name!r} has {stop - start} points: "
                f"drawing {n_points} of them needs rng"
            )
        return start + rng.choice(stop - start, n_points, replace=False, shuffle=False)


def _check_offsets(name: str, offsets: NDArray[Any], total: int) -> NDArray[np.int64]:
    if offsets.dtype.kind not in "iu":
        raise TypeError(f"family {name!r}: offsets must be integers; got {offsets.dtype}")
    if offsets.ndim != 1 or len(offsets) == 0:
        raise ValueError(f"family {name!r}: offsets must have shape (N + 1,); got {offsets.shape}")
    if len(offsets) == 1:
        raise ValueError(f"family {name!r} is empty: it needs at least one cloud")
    offsets = offsets.astype(np.int64)
    if offsets[0] != 0 or offsets[-1] != total:
        raise ValueError(
            f"family {name!r}: offsets must run from 0 to the number of points, {total}; "
            f"got {offsets[0]} ... {offsets[-1]}"
        )
    (bad,) = np.nonzero(np.diff(offsets) <= 0)
    if bad.size:
        i = bad[0]
        raise ValueError(
            f"family {name!r}: every cloud needs at least one point; "
            f"cloud {i} runs from row {offsets[i]} to row {offsets[i + 1]}"
        )
    return offsets


def _check_finite(name: str, points: Any, offsets: NDArray[np.int64]) -> None:
    if isinstance(points, StoredRows) and points.checked:
        return
    for start, stop in blocks(offsets):
        values = points[offsets[start] : offsets[stop]]
        if np.isfinite(values).all():
            continue
        row = offsets[start] + np.flatnonzero(~np.isfinite(values).all(axis=1))[0]
        i = np.searchsorted(offsets, row, side="right") - 1
        raise ValueError(f"family {name!r}: points must be finite; got NaN or infinity in cloud {i}")
    if isinstance(points, StoredRows):
        points.checked = True


def _check_weights(name: str, weights: Any, offsets: NDArray[np.int64]) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    if isinstance(weights, StoredRows):
        if not weights.checked:
            for start, stop in blocks(offsets):
                some = offsets[start : stop + 1]
                _check_weights(name, weights[some[0] : some[-1]], some - some[0])
            weights.checked = True
        stored: Any = weights
        return stored  # each cloud's are divided by their sum when they are read
    weights = np.asarray(weights)
    if weights.dtype.kind not in "fiu":
        raise TypeError(f"family {name!r}: weights must be real numbers; got {weights.dtype}")
    if weights.shape != (offsets[-1],):
        raise ValueError(f"family {name!r}: weights must have shape ({offsets[-1]},); got {weights.shape}")
    weights = weights.astype(np.float64, copy=False)
    if not (weights > 0).all():
        raise ValueError(
            f"family {name!r}: weights must be positive (a point of weight 0 is not in the cloud); "
            f"got {weights.min():.3g}"
        )
    totals = np.add.reduceat(weights, offsets[:-1])
    wrong = ~(np.abs(totals - 1) <= 1e-6)
    if wrong.any():
        i = np.flatnonzero(wrong)[0]
        raise ValueError(
            f"family {name!r}: weights must sum to 1 in every cloud; "
            f"those of cloud {i} sum to {totals[i]:.9g}"
        )
    # Weights that sum to 1 but for rounding are left alone: dividing again would change their last digit.
    return weights / np.repeat(np.where(np.abs(totals - 1) > 1e-12, totals, 1.0), np.diff(offsets))
