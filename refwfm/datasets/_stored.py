"""Rows of clouds in a file, of which only those are read that are asked for."""

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 2**18
"""Rows that are read together where all are looked at."""


class StoredRows:
    """Points, or weights, of clouds in a file: in place of the float64 array that they stand for.

    Rows that are asked for are read, by slices or integers; ``numpy.asarray`` reads all. Some clouds of a
    file are such an array, too, without anything being read.

    Parameters
    ----------
    source : array with ``shape``, ``dtype`` and slices: a memory map, or one of Zarr
    offsets : int64 array (N + 1,)
        Cloud i is ``source[offsets[i]:offsets[i + 1]]``.
    """

    def __init__(self, source: Any, offsets: NDArray[np.int64], /) -> None:
        self.source, self.offsets, self.starts = source, offsets, offsets[:-1]
        self.checked = False

    def of(self, chosen: NDArray[np.int64], /) -> Self:
        """Those of the clouds at these positions."""
        part = type(self)(self.source, np.concatenate([[0], np.cumsum(np.diff(self.offsets)[chosen])]))
        part.starts, part.checked = self.starts[chosen], self.checked
        return part

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, (total, ...)."""
        return (int(self.offsets[-1]), *self.source.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.source.shape)

    @property
    def dtype(self) -> Any:
        """Type of what is read, whatever that in the file is."""
        return np.dtype(np.float64)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[np.float64]:
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            if step == 1:
                return self._between(start, max(start, stop))
            rows = np.arange(start, stop, step)
        rows = np.asarray(rows)
        cloud = np.searchsorted(self.offsets, rows, side="right") - 1
        where = rows - self.offsets[cloud] + self.starts[cloud]
        if not where.size:
            return self._between(0, 0)
        low = int(where.min())
        if where.max() - low > AT_ONCE:  # clouds that are far from each other
            return np.stack([self._read(i, i + 1)[0] for i in where.ravel()])
        return self._read(low, int(where.max()) + 1)[where - low]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("rows in a file become an array by being read")
        return self._between(0, len(self)).astype(dtype or np.float64, copy=False)

    def _between(self, start: int, stop: int) -> NDArray[np.float64]:
        """Rows of clouds that follow each other here; those that do in the file, too, are read at once."""
        first, last = np.searchsorted(self.offsets, [start, stop], side="right") - 1
        last = min(int(last), len(self.starts) - 1)
        parts, low = [], None
        for i in range(int(first), last + 1):
            begin = int(self.starts[i]) + max(start - int(self.offsets[i]), 0)
            end = int(self.starts[i]) + min(stop, int(self.offsets[i + 1])) - int(self.offsets[i])
            low = begin if low is None else low
            follows = i < last and self.starts[i + 1] == end
            if not follows:
                parts.append(self._read(low, max(low, end)))
                low = None
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _read(self, start: int, stop: int) -> NDArray[np.float64]:
        try:
            return np.asarray(self.source[start:stop]).astype(np.float64, copy=True)
        except (OSError, MemoryError):
            raise
        except Exception as error:  # what unpacks chunks can raise anything on bytes of anything
            raise ValueError(f"rows {start} to {stop} cannot be read: {error}") from error


def blocks(offsets: NDArray[np.int64], /) -> Iterator[tuple[int, int]]:
    """Clouds from and to which are looked at together: some, of at most ``AT_ONCE`` rows, or one.

    Examples
    --------
    >>> list(blocks(np.asarray([0, 5, 200_000, 400_000])))
    [(0, 2), (2, 3)]
    """
    start = 0
    while start < len(offsets) - 1:
        stop = int(np.searchsorted(offsets, offsets[start] + AT_ONCE, side="right")) - 1
        stop = max(stop, start + 1)
        yield start, stop
        start = stop
