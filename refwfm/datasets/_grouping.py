"""Columns of a table: rows by their values, classes, and what is missing."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray


def rows_by(*columns: NDArray[Any]) -> dict[tuple[Any, ...], NDArray[np.int64]]:
    """Rows with the same values in all columns, by these values, both in sorted order.

    Parameters
    ----------
    columns : arrays (total,), at least one
        Texts or numbers, without missing values.

    Examples
    --------
    >>> {key: rows.tolist() for key, rows in rows_by(np.array(["b", "a", "b"])).items()}
    {('a',): [1], ('b',): [0, 2]}
    """
    found = [np.unique(column, return_inverse=True) for column in columns]
    key = np.zeros(len(columns[0]), np.int64)
    for values, codes in found:
        # Pressed together after each column, so that the product of their numbers cannot overflow.
        key = np.unique(key * len(values) + codes, return_inverse=True)[1]
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    return {tuple(column[rows[0]].item() for column in columns): rows for rows in np.split(order, starts[1:])}


def one_hot(values: Any, names: tuple[str, ...], /) -> NDArray[np.float64]:
    """Rows with a 1 at the place of each value among the names, shape (n, len(names))."""
    return (np.asarray(values)[:, None] == np.asarray(names)[None, :]).astype(np.float64)


def classes_of(values: Any, name: str = "labels", /) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Position (N,) of each value among the distinct ones, -1 where it is missing, and their names, sorted.

    Whole numbers are sorted by size and named without a point, whatever their dtype; bytes are text in UTF-8.

    Raises
    ------
    ValueError
        If there is not one value for each, or they are numbers that are not whole: no classes.

    Examples
    --------
    >>> positions, names = classes_of([10.0, 9.0, float("nan"), 10.0])
    >>> positions.tolist(), names
    ([1, 0, -1, 1], ('9', '10'))
    """
    values = _as_column(values)
    if values.ndim != 1:
        raise ValueError(f"{name} must have shape (N,); got {values.shape}")
    missing = missing_in(values)
    known = list(values[~missing])
    if all(isinstance(each, Real) and not isinstance(each, bool) for each in known):
        broken = [float(each) for each in known if not float(each).is_integer()]
        if broken:
            raise ValueError(
                f"{name}: {len(set(known))} different numbers, such as {broken[0]:.6g}, are conditions, not "
                "classes: name them as conditions, sort them into classes, or write each as text if it is one"
            )
        known = [int(each) for each in known]
    else:
        known = [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in known]
    distinct, found = np.unique(np.array(known), return_inverse=True)
    positions = np.full(len(values), -1)
    positions[~missing] = found
    return positions, tuple(str(each) for each in distinct)


def missing_in(values: Any, /) -> NDArray[np.bool_]:
    """Which values (N,) are missing: None, NaN, NaT or <NA>.

    Examples
    --------
    >>> missing_in(["nan", None, float("nan")]).tolist()
    [False, True, True]
    """
    values = _as_column(values)
    if values.dtype.kind in "fcmM":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(values.shape, dtype=np.bool_)
    signs = ("None", "nan", "NaT", "<NA>")
    return np.array([str(each) in signs and not isinstance(each, str) for each in values], dtype=np.bool_)


def _as_column(values: Any) -> NDArray[Any]:
    # NumPy would make the text "nan" of a NaN beside other texts.
    return values if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)


def refuse_missing(missing: NDArray[np.bool_], name: str, what: str = "no value", /) -> None:
    """Raise where something is missing: names the column, how many rows, and the first."""
    if missing.any():
        raise ValueError(
            f"column {name!r}: {int(missing.sum())} of {len(missing)} cells have {what} "
            f"(the first in row {int(np.argmax(missing))}); leave them out of the table, or fill them in"
        )
