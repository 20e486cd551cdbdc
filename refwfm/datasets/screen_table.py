"""The raw table of a drug screen: one row for each cell, its markers and where it comes from."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refwfm.datasets._anndata import is_anndata, opened
from refwfm.datasets._grouping import refuse_missing
from refwfm.datasets._tables import ENDINGS, read_frame

NAMES = {
    "culture": ("culture",),
    "patient": ("patient",),
    "plate": ("plate",),
    "replicate": ("replicate",),
    "treatment": ("treatment", "drug"),
    "dose": ("concentration", "dose"),
    "cell_type": ("celltype",),
}
"""What the loader needs, and the columns it is found in; capitals, spaces and underscores do not count."""

OPTIONAL = ("cell_type",)
NO_MARKERS = ("date", "batch", "index", "cellindex", "unnamed0", "time", "eventlength")
"""Columns of numbers that are no features."""

DROPPED = ("pPKCa", "Cyclin_B1")
"""Markers of the published tables that are left out: the first is missing there; 43 remain."""

SUFFIXES = (*ENDINGS, ".h5ad")


@dataclass(frozen=True, kw_only=True, eq=False)
class ScreenTable:
    """Cells of a screen, one in each row.

    Attributes
    ----------
    features : float array (total, d)
        Raw intensities of the markers.
    feature_names : tuple of d str
    culture, patient, plate, replicate, treatment : arrays of str (total,)
    dose : float64 array (total,)
        Concentration or its level: 0 is the control, the largest number the highest dose.
    cell_type : array of str (total,), or None

    Raises
    ------
    ValueError
        If a length disagrees, there is no cell, a value is missing, or a number not finite: names the column,
        how many cells and the first of them.
    """

    features: NDArray[Any]
    feature_names: tuple[str, ...]
    culture: NDArray[np.str_]
    patient: NDArray[np.str_]
    plate: NDArray[np.str_]
    replicate: NDArray[np.str_]
    treatment: NDArray[np.str_]
    dose: NDArray[np.float64]
    cell_type: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        shape = np.shape(self.features)
        if len(shape) != 2 or 0 in shape or shape[1] != len(self.feature_names):
            raise ValueError(
                f"features must have shape (cells, {len(self.feature_names)}), one column for each name, and "
                f"at least one cell; got {shape}"
            )
        for name in NAMES:
            column = getattr(self, name)
            if column is None and name in OPTIONAL:
                continue
            if np.shape(column) != shape[:1]:
                raise ValueError(f"{name} must have shape {shape[:1]}; got {np.shape(column)}")
            refuse_missing(np.isnan(column) if name == "dose" else column == "", name)
        refuse_missing(~np.isfinite(self.dose), "dose", "a value that is not finite")
        for name, column in zip(self.feature_names, self.features.T, strict=True):
            refuse_missing(~np.isfinite(column), name, "a value that is not finite")

    def __len__(self) -> int:
        return len(self.features)


def read_screen(
    path: str | os.PathLike[str],
    /,
    *,
    columns: Mapping[str, str] | None = None,
    markers: Sequence[str] | None = None,
    drop: Sequence[str] = DROPPED,
) -> ScreenTable:
    """Read the table of a screen: CSV, Parquet or AnnData (.h5ad), or a folder of such files.

    Parameters
    ----------
    path : path of a file, or of a folder, whose tables are read in the order of their names
    columns : dict, optional
        Columns by what they are, a key of ``NAMES``, where they have other names than those there.
    markers : sequence of str, optional
        Columns that are features. When left out: all columns of numbers that are nothing else (in AnnData:
        all of ``var``), without ``drop``.
    drop : sequence of str
        Markers to leave out; those that the table does not have are no error.

    Returns
    -------
    ScreenTable

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError
        If there is no such file, or pandas or pyarrow is needed and not installed.
    ValueError
        If a column is missing (the message lists those there are) or has missing values, or a file of a
        folder has other markers than the first.
    """
    path = Path(path)
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.iterdir() if each.name.lower().endswith(SUFFIXES))
    if not files or not path.exists():
        raise FileNotFoundError(f"no table ({', '.join(SUFFIXES)}) at {path}")
    unknown = sorted(set(columns or {}) - set(NAMES))
    if unknown:
        raise ValueError(f"columns: unknown {', '.join(unknown)}; expected some of {', '.join(NAMES)}")
    return _joined([_read(file, columns or {}, markers, drop) for file in files], files)


def write_screen(path: str | os.PathLike[str], table: ScreenTable, /) -> Path:
    """Write a table as CSV or AnnData (.h5ad), with the published names of its columns; return the path."""
    import pandas as pd

    path = Path(path)
    titles = {"dose": "Concentration", "cell_type": "Cell_type"}
    obs = pd.DataFrame(
        {
            titles.get(name, name.capitalize()): getattr(table, name)
            for name in NAMES
            if getattr(table, name) is not None
        }
    )
    if path.suffix.lower() == ".csv":
        markers = pd.DataFrame(table.features, columns=list(table.feature_names))
        pd.concat([markers, obs], axis=1).to_csv(path, index=False)
    elif path.suffix.lower() == ".h5ad":
        import anndata

        obs.index = obs.index.astype(str)
        var = pd.DataFrame(index=list(table.feature_names))
        anndata.AnnData(np.asarray(table.features), obs=obs, var=var).write_h5ad(path)
    else:
        raise ValueError(f"a table is written as .csv or .h5ad; got {path}")
    return path


def _read(file: Path, columns: Mapping[str, str], markers: Sequence[str] | None, drop: Any) -> ScreenTable:
    if is_anndata(file):
        with opened(file) as data:
            frame, values = data.obs, data.to_memory().X
        values = values.toarray() if hasattr(values, "toarray") else np.asarray(values)
        names = [str(name) for name in data.var_names]
    else:
        frame = read_frame(file)
        names, values = [str(name) for name in frame.columns], None
    found = {role: _find(role, columns.get(role), frame, file) for role in NAMES}
    taken = {_plain(name) for name in (*NO_MARKERS, *(name for name in found.values() if name))}
    left_out = {_plain(name) for name in drop}
    if markers is None:
        markers = [name for name in names if _plain(name) not in left_out]
        if values is None:
            numbers = {str(name) for name in frame.select_dtypes("number").columns}
            markers = [name for name in markers if name in numbers and _plain(name) not in taken]
    absent = [name for name in markers if name not in names]
    if absent or not markers:
        raise ValueError(f"{file}: no markers {', '.join(absent)}; the table has {', '.join(names)}")
    if values is None:
        features = frame[list(markers)].to_numpy(
            dtype=np.float32 if _is_single(frame, markers) else np.float64
        )
    else:
        features = values[:, [names.index(name) for name in markers]]
    try:
        return ScreenTable(
            features=features,
            feature_names=tuple(markers),
            dose=_numbers(frame[found["dose"]], str(found["dose"])),
            **{role: _texts(frame[name]) for role, name in found.items() if name and role != "dose"},
        )
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _find(role: str, given: str | None, frame: Any, file: Path) -> Any:
    """Name of the column that is ``role``, or None where it is optional and not there."""
    wanted = NAMES[role] if given is None else (_plain(given),)
    for name in frame.columns:
        if _plain(str(name)) in wanted:
            return name
    if role in OPTIONAL and given is None:
        return None
    raise ValueError(
        f"{file} has no column for the {role} ({given or ' or '.join(wanted)}); it has "
        f"{', '.join(map(str, frame.columns))}. Name it with columns={{{role!r}: ...}}"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _is_single(frame: Any, markers: Sequence[str]) -> bool:
    return all(frame[name].dtype == np.float32 for name in markers)


def _numbers(series: Any, name: str) -> NDArray[np.float64]:
    import pandas as pd

    numbers = pd.to_numeric(series.astype(object), errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.isnan(numbers) & series.notna().to_numpy()
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"column {name!r} must hold numbers; got {series.iloc[row]!r} in row {row}")
    return numbers


def _texts(series: Any) -> NDArray[np.str_]:
    """Texts of a column, "" where there is none; whole numbers without a point, whatever their dtype."""
    if series.dtype.kind == "f" and not (series.dropna() % 1).any():
        series = series.astype("Int64")
    return np.where(series.isna(), "", series.astype(str)).astype(np.str_)


def _joined(tables: list[ScreenTable], files: list[Path]) -> ScreenTable:
    first = tables[0]
    for file, table in zip(files, tables, strict=True):
        if table.feature_names != first.feature_names:
            other = sorted(set(table.feature_names) ^ set(first.feature_names)) or ["their order"]
            raise ValueError(f"{file} and {files[0]} differ in their markers: {', '.join(other)}")
    if len(tables) == 1:
        return first
    typed = all(table.cell_type is not None for table in tables)
    return ScreenTable(
        features=np.concatenate([table.features for table in tables]),
        feature_names=first.feature_names,
        **{
            name: np.concatenate([getattr(table, name) for table in tables])
            for name in NAMES
            if typed or name not in OPTIONAL
        },
    )
