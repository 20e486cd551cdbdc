"""The user's own clouds in a table, CSV or Parquet: a row for each point, a column that names its cloud."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._cloud_family import CloudFamily
from refwfm.datasets._conditions import columns_of_numbers
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


def with_conditions(family: Any, path: Path, names: Sequence[str], /) -> Any:
    """A family of Gaussians or clouds with conditions from a table of another file.

    Parameters
    ----------
    family : Family or CloudFamily
    path : path of a table
        Its first column says whose a row is: the value of the group of that name (``family.groups``), or else
        the name of a member.
    names : sequence of str
        Columns of numbers.

    Raises
    ------
    ValueError
        If a column is missing or holds no numbers, a key comes twice, or a member has no row.
    """
    frame = read_frame(path)
    key = str(frame.columns[0]) if len(frame.columns) else ""
    values = columns_of_numbers(frame, names, of=path.name, rows=f"rows of {path.name}")
    refuse_missing(missing_in(frame[key]), key)
    row, known = classes_of(frame[key], f"column {key!r}")
    twice = np.bincount(row, minlength=1) > 1
    if twice.any():
        raise ValueError(f"{path.name} has more than one row for {key} {known[int(np.argmax(twice))]}")
    what, wanted = (key, family.groups[key]) if key in family.groups else ("member", family.members)
    if not len(wanted):
        raise ValueError(
            f"{path.name} is keyed by {key!r}, but {family.name} has no column of that name and no names of "
            "members"
        )
    place = {name: i for i, name in enumerate(known)}
    lacking = sorted({str(each) for each in wanted} - place.keys())
    if lacking:
        some = ", ".join(lacking[:3]) + ", ..." * (len(lacking) > 3)
        raise ValueError(
            f"{path.name} has no row for {len(lacking)} of {len(set(wanted))} values of {what}: {some}; its "
            f"first column, {key!r}, names {', '.join(known[:3])}{', ...' * (len(known) > 3)}"
        )
    order = np.argsort(row)
    found = values[order[[place[str(each)] for each in wanted]]]
    return replace(family, conditions=found, condition_names=tuple(names))


def _numbers(column: Any, name: str, path: Path) -> NDArray[np.float64]:
    """A column of coordinates; one without a name is an index that was written along."""
    unnamed = name.startswith("Unnamed: ") or name == "__index_level_0__"
    if unnamed or column.dtype.kind not in "fiub":
        what = "has no name, as where an index was written along" if unnamed else "is not of numbers"
        rows = [0] if unnamed else [i for i, value in enumerate(column) if not _is_number(value)]
        row = rows[0] if rows else 0
        raise ValueError(
            f"{path.name}: column {name!r} {what} ({column.iloc[row]!r} in row {row}): name the columns that "
            "are coordinates with columns (--columns x,y)"
        )
    values: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    refuse_missing(~np.isfinite(values), name, "no finite value")
    return values


def _is_number(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False
