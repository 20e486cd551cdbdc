"""``refwfm data gaussians`` and ``clouds``: from one's own cells, tables, arrays and shapes to a family."""

import warnings
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from refwfm.cli._common import named_path, say
from refwfm.cli._errors import clear_errors
from refwfm.cli._summary import summarise
from refwfm.datasets import (
    CloudFamily,
    Family,
    clouds_from_anndata,
    from_anndata,
    gaussians_of,
    read_clouds,
    read_gaussians,
    read_shapes,
    read_table,
    save_family,
)
from refwfm.datasets._anndata import is_anndata
from refwfm.datasets._tables import is_table
from refwfm.datasets.own_tables import with_conditions

CELLS: Any = {"rich_help_panel": "For an AnnData file"}
TABLE: Any = {"rich_help_panel": "For a table"}
SHAPES: Any = {"rich_help_panel": "For a folder of shapes"}


class By(StrEnum):
    """Which cells make one Gaussian or cloud."""

    niche = "niche"
    cluster = "cluster"
    neighbourhood = "neighbourhood"


ByOption = Annotated[By | None, typer.Option(help="Which cells make a member (default niche).", **CELLS)]
Pcs = Annotated[int | None, typer.Option(min=1, help="Number of principal components (default 16).", **CELLS)]
Label = Annotated[
    str | None,
    typer.Option(help="Column with each cell's class, in obs; of a table that of each cloud.", **CELLS),
]
Condition = Annotated[
    str | None,
    typer.Option(help="Columns of numbers to condition on, as age,dose: of obs, or of --condition-table."),
]
ConditionTable = Annotated[
    Path | None,
    typer.Option(
        parser=named_path,
        metavar="PATH",
        help="Table (.csv, .tsv, .parquet) with the columns of --condition, a row for each value of its "
        "first column: a column of obs of that name (patient, section), or the names of the members.",
    ),
]
SpatialKey = Annotated[
    str | None, typer.Option(help="Entry of obsm with the coordinates (default spatial).", **CELLS)
]
ClusterKey = Annotated[str | None, typer.Option(help="Column of obs with the clusters.", **CELLS)]
SectionKey = Annotated[
    str | None, typer.Option(help="Column of obs with the sections, which niches do not cross.", **CELLS)
]
Basis = Annotated[
    str | None, typer.Option(help="Entry of obsm with the components (default X_pca).", **CELLS)
]
Layer = Annotated[
    str | None,
    typer.Option(
        help="Entry of layers, in place of X: what generated cells are written in, and, without --basis, "
        "components are computed from.",
        **CELLS,
    ),
]
UseRaw = Annotated[bool | None, typer.Option("--use-raw", help="Raw, in place of X, as --layer.", **CELLS)]
Cloud = Annotated[str | None, typer.Option(help="Column that names the cloud of each row.", **TABLE)]
Columns = Annotated[
    str | None,
    typer.Option(help="Columns with the coordinates, x,y,z (default all others).", **TABLE),
]
Out = Annotated[
    Path | None,
    typer.Option(
        parser=named_path,
        metavar="PATH",
        help="File to write the family to (default the name of PATH, .npz).",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]


def gaussians(
    path: Annotated[
        Path, typer.Argument(parser=named_path, metavar="PATH", help="AnnData file, table, or NumPy file.")
    ],
    out: Out = None,
    force: Force = False,
    by: ByOption = None,
    k: Annotated[
        int | None,
        typer.Option("--k", min=1, help="Number of cells in a niche or neighbourhood (default 40).", **CELLS),
    ] = None,
    pcs: Pcs = None,
    label: Label = None,
    condition: Condition = None,
    condition_table: ConditionTable = None,
    spatial_key: SpatialKey = None,
    cluster_key: ClusterKey = None,
    section_key: SectionKey = None,
    basis: Basis = None,
    layer: Layer = None,
    use_raw: UseRaw = None,
    cloud: Cloud = None,
    columns: Columns = None,
) -> None:
    """Turn cells, clouds or arrays into a family of Gaussians and save it as .npz.

    PATH is an AnnData file (.h5ad, .zarr); a table (.csv, .tsv, .parquet) with a column that names the cloud
    of each row; a .npz file with means (N, d) and covs (N, d, d); or one of clouds, or a .npy file, as for
    refwfm data clouds. Of clouds means and covariances are taken.
    """
    cells = {
        "by": None if by is None else by.value,
        **{"k": k, "pcs": pcs, "label": label, "basis": basis, "layer": layer, "use_raw": use_raw},
        **{"spatial_key": spatial_key, "cluster_key": cluster_key, "section_key": section_key},
        "conditions": None if condition_table else _names(condition),
    }
    table = {"cloud": cloud, "columns": columns, "label": label}

    def read() -> Family:
        if path.is_dir() and not is_anndata(path):
            raise ValueError(f"{path} is a folder; shapes are clouds: refwfm data clouds {path}")
        if is_anndata(path):
            return from_anndata(path, **_given(cells, "an AnnData file", table))
        if is_table(path):
            return gaussians_of(_table(path, table, cells))
        _given({}, "a NumPy file", cells | table)
        return read_gaussians(path)

    _make(path, out, force, read, condition, condition_table)


def clouds(
    path: Annotated[
        Path,
        typer.Argument(
            parser=named_path, metavar="PATH", help="AnnData file, folder of shapes, table, or NumPy file."
        ),
    ],
    out: Out = None,
    force: Force = False,
    by: ByOption = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="Number of cells in a niche (default 16).", **CELLS)
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(help="Distance within which all cells make a niche, in place of --k.", **CELLS),
    ] = None,
    pcs: Pcs = None,
    label: Label = None,
    condition: Condition = None,
    condition_table: ConditionTable = None,
    spatial_key: SpatialKey = None,
    cluster_key: ClusterKey = None,
    section_key: SectionKey = None,
    basis: Basis = None,
    layer: Layer = None,
    use_raw: UseRaw = None,
    cloud: Cloud = None,
    columns: Columns = None,
    split: Annotated[str | None, typer.Option(help="Part to read: train, val or test.", **SHAPES)] = None,
    n_points: Annotated[
        int | None, typer.Option(min=1, help="Number of points of each shape (default 2048).", **SHAPES)
    ] = None,
    up: Annotated[
        str | None, typer.Option(help="Coordinate that points up: y or z (default z).", **SHAPES)
    ] = None,
    normalize: Annotated[bool | None, typer.Option(help="Scale each shape to radius 1.", **SHAPES)] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the draws of points (default 0).", **SHAPES)
    ] = None,
) -> None:
    """Turn cells, shapes, tables or arrays into a family of point clouds and save it as .npz.

    PATH is an AnnData file (.h5ad, .zarr); a folder of shapes (.npy, .off, .ply, .obj, .stl, .txt), one file
    each, subfolders being classes; a table (.csv, .tsv, .parquet) with a column that names the cloud of each
    row; or a .npy or .npz file of arrays.
    """
    cells = {
        "by": None if by is None else by.value,
        **{"k": k, "radius": radius, "pcs": pcs, "label": label},
        **{"basis": basis, "layer": layer, "use_raw": use_raw},
        **{"spatial_key": spatial_key, "cluster_key": cluster_key, "section_key": section_key},
        "conditions": None if condition_table else _names(condition),
    }
    table = {"cloud": cloud, "columns": columns, "label": label}
    shapes = {"split": split, "n_points": n_points, "up": up, "normalize": normalize, "seed": seed}

    def read() -> CloudFamily:
        if is_anndata(path):
            return clouds_from_anndata(path, **_given(cells, "an AnnData file", table | shapes))
        if path.is_dir():
            return read_shapes(path, **_given(shapes, "a folder of shapes", cells | table))
        if is_table(path):
            return _table(path, table, cells | shapes)
        _given({}, "a NumPy file", cells | table | shapes)
        return read_clouds(path)

    _make(path, out, force, read, condition, condition_table)


def _make(
    path: Path,
    out: Path | None,
    force: bool,
    read: Callable[[], Family | CloudFamily],
    condition: str | None,
    table: Path | None,
) -> None:
    """Read one's own data, save and summarise the family; what is warned of is printed."""
    name = path.resolve().name if path.is_dir() and not is_anndata(path) else path.stem
    out = Path(f"{name}.npz") if out is None else out
    with clear_errors():
        if out.exists() and not force:
            raise ValueError(f"{out} exists; name another file with --out, or replace it with --force")
        names = _names(condition)
        if table is not None and names is None:
            raise ValueError("--condition-table needs --condition, the columns of it to condition on")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            family = read()
            if table is not None and names is not None:
                family = with_conditions(family, table, names)
        save_family(out, family)
        summarise(family)
        for each in told:
            say(str(each.message))
        say(f"wrote {out}: load it by that name")


def _table(path: Path, options: dict[str, Any], others: dict[str, Any]) -> CloudFamily:
    given = _given(options, "a table", others)
    if "cloud" not in given:
        raise ValueError(f"{path}: a table needs --cloud, the column that names the cloud of each row")
    if "columns" in given:
        given["columns"] = _names(given["columns"])
    return read_table(path, **given)


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names between commas."""
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _given(options: dict[str, Any], kind: str, others: dict[str, Any]) -> dict[str, Any]:
    """Options that were given; an error when one of the others was."""
    misplaced = [
        f"--{name.replace('_', '-').replace('conditions', 'condition')}"
        for name, value in others.items()
        if value is not None and name not in options
    ]
    if misplaced:
        raise ValueError(f"{', '.join(misplaced)} cannot be used with {kind}")
    return {name: value for name, value in options.items() if value is not None}
