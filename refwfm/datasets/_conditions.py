"""Numbers that members are conditioned on, from columns of a table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def columns_of_numbers(
    obs: Any, names: Sequence[str], /, *, of: str = "obs", rows: str = "cells"
) -> NDArray[np.float64]:
    """Columns of obs as float64 (N, c); ``of`` and ``rows`` say what it is and has, for errors.

    Raises
    ------
    ValueError
        If a column is missing, holds text, or lacks values; the message counts them.
    """
    values = [_numbers(obs, name, of, rows) for name in names]
    return np.stack(values, axis=-1) if values else np.zeros((len(obs), 0))


def _numbers(obs: Any, name: str, of: str, rows: str) -> NDArray[np.float64]:
    import pandas

    if name not in obs:
        raise ValueError(f"condition {name!r} is no column of {of}; there are {', '.join(map(str, obs))}")
    column = obs[name]
    values = pandas.to_numeric(column.astype(object), errors="coerce").to_numpy(dtype=np.float64)
    text = column[np.isnan(values) & column.notna().to_numpy()]
    if len(text):
        raise ValueError(
            f"condition {name!r} must be a column of numbers; got {str(text.iloc[0])!r} (classes are a label)"
        )
    lacking = int((~np.isfinite(values)).sum())
    if lacking:
        raise ValueError(
            f"condition {name!r} has no finite value for {lacking} of {len(values)} {rows}; leave these out, "
            "or give them one"
        )
    return values


def mean_of(values: NDArray[np.float64], /) -> NDArray[np.float64]:
    """Mean of the rows (n, c), exactly their value where all have the same."""
    return values[0] + np.mean(values - values[0], axis=0)
