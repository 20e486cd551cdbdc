"""One's own pairs of histograms, from arrays or from an ``.npz`` file of them.

Either a collection, from which pairs are drawn at random::

    histograms (N, h, w)      images on the grid of the unit square, or
    histograms (N, n)         with points (n, d) or cost (n, n)

or pairs, row i of a with row i of b::

    a (N, n), b (N, m)        with points (n, d), or x (n, d) and y (m, d), or cost (n, m)

Rows of a and b have sum 1; histograms are divided by theirs. Of points the cost is the squared distance;
where a cost is given too, points are only for the Gaussian potential. A tenth of the rows, the last ones, is
held out of training.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm._array import sq_distances
from refwfm.datasets._files import read_npz
from refwfm.datasets._pair_family import Draw, Floats, PairFamily
from refwfm.datasets.pairs import image_histograms
from refwfm.training.randomness import distinct_pairs, random_stream
from refwfm.transport.grids import unit_grid

KEYS = ("histograms", "a", "b", "points", "x", "y", "cost")

EPS = 0.01
"""Entropic regularisation as a share of the mean cost; on the unit square the paper's 0.01 itself."""


def load_pair_file(path: str | os.PathLike[str], /) -> PairFamily:
    """Read one's own pairs from an ``.npz`` file; nothing in it is executed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no such file, or what it holds are no pairs of histograms.
    """
    path = Path(path)
    arrays = read_npz(path)
    unknown = sorted(set(arrays) - set(KEYS))
    if unknown:
        raise ValueError(
            f"{path} holds {', '.join(unknown)}; a file of pairs holds some of {', '.join(KEYS)}"
        )
    try:
        return own_pairs(name=path.stem, **arrays)
    except ValueError as error:
        raise ValueError(f"{path} holds no pairs of histograms: {error}") from None


def own_pairs(
    *,
    histograms: Any = None,
    a: Any = None,
    b: Any = None,
    points: Any = None,
    x: Any = None,
    y: Any = None,
    cost: Any = None,
    name: str = "pairs",
) -> PairFamily:
    """Pairs of histograms from arrays, as the module says which.

    Raises
    ------
    ValueError
        If arrays are missing, too many or of shapes that disagree; if a weight is negative or not finite; if
        a histogram has no mass, or one of a and b a mass other than 1.
    """
    if (histograms is None) == (a is None and b is None):
        raise ValueError("needs either histograms, or a and b")
    if histograms is not None:
        images = np.asarray(histograms)
        _check_numbers(images, "histograms", (2, 3))
        rows = image_histograms(images if images.ndim == 3 else images[:, None, :])
        pool: tuple[Floats, ...] = (rows,)
        on_grid = images.ndim == 3 and points is None and x is None and y is None and cost is None
        if on_grid:
            axes = unit_grid(images.shape[1:], like=rows).axes
            return _family(name, pool, EPS, axes=axes)
        if images.ndim == 2 and points is None and cost is None:
            raise ValueError("histograms (N, n) need the points of their atoms, points (n, d), or their cost")
    else:
        if a is None or b is None:
            raise ValueError(f"needs both a and b; got only {'b' if a is None else 'a'}")
        pool = (_weights(a, "a"), _weights(b, "b"))
        if len(pool[0]) != len(pool[1]):
            raise ValueError(f"a and b must have as many rows; got {len(pool[0])} and {len(pool[1])}")
    sizes = pool[0].shape[1], pool[-1].shape[1]
    where = _points(points, x, y, sizes)
    matrix = _cost(cost, where, sizes)
    with np.errstate(over="ignore"):
        mean = float(np.mean(matrix))
    if not 0 < mean < np.inf:
        raise ValueError(f"the cost must be positive on average, and finite; got a mean of {mean:.3g}")
    both = "" if cost is None or where is None else "; cost as given, points for the Gaussian potential alone"
    return _family(name, pool, EPS * mean, note=both, cost=matrix, points=where)


def _family(name: str, pool: tuple[Floats, ...], eps: float, *, note: str = "", **atoms: Any) -> PairFamily:
    # Of one collection two make a pair; a pair of rows is one by itself.
    count, each, words = len(pool[0]), *((2, "histograms") if len(pool) == 1 else (1, "rows"))
    held_out = max(each, count // 10)
    if count < 2 * each:
        raise ValueError(
            f"needs at least {2 * each} {words}, {each} to train on and {each} to hold out; got {count}"
        )
    return PairFamily(
        name=name,
        draw=pool_draw(pool, count - held_out),
        held_out=held_out * (held_out - 1) if len(pool) == 1 else held_out,
        eps=eps,
        numbers=pool,
        about=f"{count} rows, the last {held_out} held out{note}",
        **atoms,
    )


def pool_draw(pool: tuple[Floats, ...], n_train: int, /) -> Draw:
    """Draw from rows: pairs of one collection, or rows of two that belong together; the last are held out."""
    n_held_out = len(pool[0]) - n_train

    def draw(size: int, *, seed: int, step: int, stream: str) -> tuple[Floats, Floats]:
        rng = random_stream(seed, stream, step)
        if stream == "batch":
            first, second = rng.integers(0, n_train, (2, size))
        elif len(pool) == 1:
            first, second = n_train + distinct_pairs(rng, n_held_out, size)
        else:
            first = second = n_train + rng.permutation(n_held_out)[:size]
        return (pool[0][first], pool[0][second]) if len(pool) == 1 else (pool[0][first], pool[1][first])

    return draw


def is_pair_file(path: Path, /) -> bool:
    """Whether a file is an ``.npz`` file of pairs, by the names of its arrays."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    names = set(read_npz(path))
    return names <= set(KEYS) and ("histograms" in names or {"a", "b"} <= names)


def _check_numbers(values: NDArray[Any], name: str, ndim: tuple[int, ...]) -> None:
    if values.dtype.kind not in "fiub" or values.ndim not in ndim or 0 in values.shape:
        wanted = " or ".join(f"{n}-dimensional" for n in ndim)
        raise ValueError(
            f"{name} must be a {wanted} array of real numbers with no empty axis; "
            f"got {values.dtype} of shape {values.shape}"
        )
    if not np.all(np.isfinite(values)):
        place = tuple(int(i[0]) for i in np.nonzero(~np.isfinite(values)))
        raise ValueError(f"{name} must be finite; got {values[place]} at {place}")


def _weights(values: Any, name: str) -> Floats:
    values = np.asarray(values)
    _check_numbers(values, name, (2,))
    tolerance = 1e-6 if values.dtype == np.float64 else 1e-3
    values = values.astype(np.float64)
    if np.any(values < 0):
        row, column = (int(i[0]) for i in np.nonzero(values < 0))
        raise ValueError(f"{name} must not be negative; got {values[row, column]:.3g} in row {row}")
    with np.errstate(over="ignore"):
        mass = values.sum(axis=1)
    wrong = np.flatnonzero(np.abs(mass - 1.0) > tolerance)
    if wrong.size:
        raise ValueError(
            f"each row of {name} must have mass 1 (unequal masses cannot be transported); row {wrong[0]} has "
            f"{mass[wrong[0]]:.9g}: divide the rows by their sums if that is meant"
        )
    return values / mass[:, None]


def _points(points: Any, x: Any, y: Any, sizes: tuple[int, int]) -> tuple[Floats, Floats] | None:
    if points is not None:
        if x is not None or y is not None:
            raise ValueError("points are those of both measures; x and y those of each: give one of the two")
        x = y = points
    if x is None and y is None:
        return None
    if x is None or y is None:
        raise ValueError(f"needs both x and y; got only {'y' if x is None else 'x'}")
    names = ("x", "y") if points is None else ("points", "points")
    x, y = _places(x, names[0], sizes[0]), _places(y, names[1], sizes[1])
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"x and y must be in one dimension; got {x.shape[1]} and {y.shape[1]}")
    return x, y


def _places(values: Any, name: str, size: int) -> Floats:
    values = np.asarray(values)
    _check_numbers(values, name, (2,))
    if len(values) != size:
        raise ValueError(f"{name} must have one row for each of {size} atoms; got shape {values.shape}")
    return values.astype(np.float64)


def _cost(cost: Any, points: tuple[Floats, Floats] | None, sizes: tuple[int, int]) -> Floats:
    if cost is None:
        if points is None:
            raise ValueError("needs the points of the atoms (points, or x and y), or their cost")
        with np.errstate(over="ignore"):
            found = sq_distances(*points)
        if not np.all(np.isfinite(found)):
            raise ValueError("points so far apart have squared distances that overflow; use another unit")
        return found
    cost = np.asarray(cost)
    _check_numbers(cost, "cost", (2,))
    if cost.shape != sizes:
        raise ValueError(f"cost must have shape {sizes}, from the atoms of a to those of b; got {cost.shape}")
    return cost.astype(np.float64)
