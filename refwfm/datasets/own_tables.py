"""The user's own clouds in a table, CSV or Parquet: a row for each point, a column that names its cloud."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._grouping import classes_of, missing_in, refuse_missing
from refwfm.datasets._tables import read_frame
from refwfm.datasets.own_arrays import encode_labels


def read_table(
    path: str | os.PathLike[str],
    /,
    *,
    cloud: str,
    label: str | None = None,
    columns: Sequence[str] | None = None,
) -> CloudFamily:
    """Family of the clouds in a table: ``.csv``, ``.csv.gz``, ``.tsv`` or ``.parquet``.

    Parameters
    ----------
    path : path
    cloud : str
        Column that names the cloud of each point. Clouds come in the order of these names, whole numbers by
        size, and their points in that of the rows.
    label : str, optional
        Column with the class of each cloud, the same in all its rows.
    columns : sequence of str, optional
        Columns that are coordinates; all others, which must then be numbers, when left out.

    Returns
    -------
    CloudFamily
        Named after the file; the names of the clouds are its members.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError
        If there is no such file; pandas, or pyarrow for Parquet, is not installed.
    ValueError
        If it is no table; a column is missing (the message lists those there are), is no numbers, or lacks a
        value; or a cloud has several labels.
    """
    path = Path(path)
    frame = read_frame(path)
    frame.columns = [str(name) for name in frame.columns]
    if not len(frame):
        raise ValueError(f"{path.name} has no rows; its columns are {', '.join(frame.columns) or 'none'}")
    given = list(columns or [])
    for name in (cloud, *given, *([] if label is None else [label])):
        if name not in frame.columns:
            raise ValueError(f"{path.name} has no column {name!r}; it has {', '.join(frame.columns)}")
    names = given or [name for name in frame.columns if name not in (cloud, label)]
    if not names:
        raise ValueError(f"{path.name} has no column of coordinates beside {cloud!r}")
    points = np.column_stack([_numbers(frame[name], name, path) for name in names])
    refuse_missing(missing_in(frame[cloud]), cloud)
    which, members = classes_of(frame[cloud], f"column {cloud!r}")
    order = np.argsort(which, kind="stable")
    sizes = np.bincount(which)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    labels, label_names = encode_labels(None if label is None else frame[label], what=f"column {label!r}")
    if labels is not None:
        each = labels
        labels = each[order][offsets[:-1]]
        other = each != labels[which]
        if other.any():
            i = which[np.argmax(other)]
            found = ", ".join(label_names[j] for j in np.unique(each[which == i]))
            raise ValueError(f"{path.name}: a cloud has one {label}; {cloud} {members[i]} has {found}")
    return CloudFamily(
        name=path.name.split(".")[0],
        points=points[order],
        offsets=offsets,
        labels=labels,
        label_names=label_names,
        members=members,
        about=f"{len(members)} clouds of {path.name}, by {cloud}, in {', '.join(names)}.",
    )


def _numbers(column: Any, name: str, path: Path) -> NDArray[np.float64]:
    """A column of coordinates; one without a name is an index that was written along."""
    unnamed = name.startswith("Unnamed: ") or name == "__index_level_0__"
    if unnamed or column.dtype.kind not in "fiub":
        what = "has no name, as where an index was written along" if unnamed else "is not of numbers"
        raise ValueError(
            f"{path.name}: column {name!r} {what} (it begins with {column.iloc[0]!r}): name the columns that "
            "are coordinates with columns (--columns x,y)"
        )
    values: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    refuse_missing(~np.isfinite(values), name, "no finite value")
    return values
