"""Rows of a table by the values of some of its columns."""

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
