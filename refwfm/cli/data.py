"""``refwfm data``: which families there are, what is in them, and how to make one's own."""

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from refwfm.cli._common import save_picture
from refwfm.cli._errors import clear_errors
from refwfm.cli.population_data import are_populations, populations, print_populations, summarise_populations
from refwfm.datasets import (
    CATALOGUE,
    PAIRS,
    CloudFamily,
    Family,
    build_shipped,
    clouds_from_anndata,
    from_anndata,
    load,
    load_populations,
    read_clouds,
    read_shapes,
    save_family,
)
from refwfm.datasets.own_pairs import is_pair_file

app = typer.Typer(
    no_args_is_help=True, help="Families of Gaussians and of point clouds: list, show, make your own."
)

CELLS: Any = {"rich_help_panel": "For an AnnData file"}
SHAPES: Any = {"rich_help_panel": "For a folder of shapes"}


class By(StrEnum):
    """Which cells make one Gaussian or cloud."""

    niche = "niche"
    cluster = "cluster"
    neighbourhood = "neighbourhood"


@app.command("list")
def list_families() -> None:
    """List the families that can be loaded by name."""
    held_out = {entry.held_out for entry in CATALOGUE.values()}
    for kind in ("Gaussians", "clouds"):
        entries = {name: e for name, e in CATALOGUE.items() if e.kind == kind and name not in held_out}
        table = Table(title=f"Families of N {kind} in R^d", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        table.add_column("name", no_wrap=True)
        columns = (
            ("N", "d", "classes") if kind == "Gaussians" else ("N", "held out", "points", "d", "classes")
        )
        for heading in columns:
            table.add_column(heading, justify="right")
        table.add_column("ships", no_wrap=True)
        table.add_column("about", overflow="fold")
        for name, entry in entries.items():
            facts = {
                "N": str(entry.size or "files"),
                "held out": str((entry.held_out and CATALOGUE[entry.held_out].size) or "-"),
                "points": _span(entry.sizes),
                "d": str(entry.dimension),
                "classes": str(entry.n_labels or "-"),
            }
            row = [facts[heading] for heading in columns]
            table.add_row(name, *row, "yes" if entry.shipped else "-", entry.about)
        Console().print(table)
    pairs = Table(
        title="Pairs of histograms, for train --kind meta-ot", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    pairs.add_column("name", no_wrap=True)
    pairs.add_column("atoms", justify="right")
    pairs.add_column("ships", no_wrap=True)
    pairs.add_column("about", overflow="fold")
    for name, each in PAIRS.items():
        pairs.add_row(name, each.atoms, "yes" if each.shipped else "-", each.about)
    Console().print(pairs)
    print_populations()
    _say("held out: members for evaluation only, which are the family NAME-test")
    _say("what does not ship comes from the folder REFWFM_DATA, or is downloaded where a home serves it")
    _say("N = files: as many as the files there hold")


def _span(sizes: tuple[int, int] | None) -> str:
    if sizes is None:
        return "-"
    low, high = sizes
    return str(low) if low == high else f"{low}-{high}"


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of a family, or a file ending in .npz.")],
    figure: Annotated[
        Path | None, typer.Option(help="Also save a picture to this file (.png, .pdf, .svg).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the families that are drawn at random.")] = 0,
) -> None:
    """Summarise a family: sizes, scales, ranks and classes; --figure draws it too."""
    with clear_errors():
        if name in PAIRS or is_pair_file(Path(name)):
            raise ValueError(
                f"{name}: pairs of histograms have no summary; refwfm train --kind meta-ot --data {name} "
                "learns from them"
            )
        if are_populations(name):
            if figure is not None:
                raise ValueError(f"--figure draws Gaussians and clouds; {name} holds populations")
            summarise_populations(load_populations(name, seed=seed))
            return
        family = load(name, seed=seed)
        _summarise(family)
        if figure is not None:
            save_picture(figure, family)


@app.command()
def gaussians(
    file: Annotated[Path, typer.Argument(help="AnnData file (.h5ad).")],
    by: Annotated[By, typer.Option(help="Which cells make one Gaussian.")] = By.niche,
    k: Annotated[int, typer.Option("--k", min=1, help="Number of cells in a niche or neighbourhood.")] = 40,
    pcs: Annotated[int, typer.Option(min=1, help="Number of principal components.")] = 16,
    label: Annotated[str | None, typer.Option(help="Column of obs with each cell's class.")] = None,
    condition: Annotated[
        str | None, typer.Option(help="Columns of obs of numbers to condition on, as age,dose.")
    ] = None,
    spatial_key: Annotated[str, typer.Option(help="Entry of obsm with the coordinates.")] = "spatial",
    cluster_key: Annotated[str | None, typer.Option(help="Column of obs with the clusters.")] = None,
    section_key: Annotated[str | None, typer.Option(help="Column of obs with the sections.")] = None,
    basis: Annotated[
        str | None, typer.Option(help="Entry of obsm with the components (default X_pca).")
    ] = None,
    expression: Annotated[
        str, typer.Option(help="Matrix to write generated cells in: X, raw, or a layer.")
    ] = "X",
    out: Annotated[
        Path | None, typer.Option(help="File to write the family to (default the name of FILE, .npz).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Turn an AnnData file into a family of Gaussians and save it as .npz."""
    out = Path(f"{file.stem}.npz") if out is None else out
    with clear_errors():
        if out.exists() and not force:
            raise ValueError(f"{out} exists; name another file with --out, or replace it with --force")
        family = from_anndata(
            file,
            by=by.value,
            k=k,
            pcs=pcs,
            label=label,
            conditions=_names(condition) or (),
            spatial_key=spatial_key,
            cluster_key=cluster_key,
            section_key=section_key,
            basis=basis,
            expression=expression,
        )
        save_family(out, family)
        _summarise(family)
        _say(f"wrote {out}: load it by that name")


@app.command()
def clouds(
    path: Annotated[Path, typer.Argument(help="AnnData file, folder of shapes, or NumPy file.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write the family to (default the name of PATH, .npz).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    by: Annotated[
        By | None, typer.Option(help="Which cells make one cloud (default niche).", **CELLS)
    ] = None,
    k: Annotated[
        int | None, typer.Option("--k", min=1, help="Number of cells in a niche (default 16).", **CELLS)
    ] = None,
    radius: Annotated[
        float | None,
        typer.Option(help="Distance within which all cells make a niche, in place of --k.", **CELLS),
    ] = None,
    pcs: Annotated[
        int | None, typer.Option(min=1, help="Number of principal components (default 16).", **CELLS)
    ] = None,
    label: Annotated[str | None, typer.Option(help="Column of obs with each cell's class.", **CELLS)] = None,
    condition: Annotated[
        str | None, typer.Option(help="Columns of obs of numbers to condition on, as age,dose.", **CELLS)
    ] = None,
    spatial_key: Annotated[
        str | None, typer.Option(help="Entry of obsm with the coordinates (default spatial).", **CELLS)
    ] = None,
    cluster_key: Annotated[str | None, typer.Option(help="Column of obs with the clusters.", **CELLS)] = None,
    section_key: Annotated[str | None, typer.Option(help="Column of obs with the sections.", **CELLS)] = None,
    basis: Annotated[
        str | None, typer.Option(help="Entry of obsm with the components (default X_pca).", **CELLS)
    ] = None,
    expression: Annotated[
        str | None,
        typer.Option(help="Matrix to write generated cells in: X (default), raw, or a layer.", **CELLS),
    ] = None,
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
    """Turn cells, shapes or arrays into a family of point clouds and save it as .npz.

    PATH is an AnnData file (.h5ad); a folder of shapes (.npy, .off, .txt), one file each, subfolders
    being classes; or a .npy or .npz file of arrays.
    """
    name = path.resolve().name if path.is_dir() else path.stem
    out = Path(f"{name}.npz") if out is None else out
    cells = {
        "by": None if by is None else by.value,
        **{"k": k, "radius": radius, "pcs": pcs, "label": label, "basis": basis},
        **{"expression": expression, "conditions": _names(condition)},
        **{"spatial_key": spatial_key, "cluster_key": cluster_key, "section_key": section_key},
    }
    shapes = {"split": split, "n_points": n_points, "up": up, "normalize": normalize, "seed": seed}
    with clear_errors():
        if out.exists() and not force:
            raise ValueError(f"{out} exists; name another file with --out, or replace it with --force")
        if path.is_dir():
            family = read_shapes(path, **_given(shapes, "a folder of shapes", cells))
        elif path.suffix == ".h5ad":
            family = clouds_from_anndata(path, **_given(cells, "an AnnData file", shapes))
        else:
            _given({}, "a NumPy file", cells | shapes)
            family = read_clouds(path)
        save_family(out, family)
        _summarise(family)
        _say(f"wrote {out}: load it by that name")


app.command("populations")(populations)


def _names(text: str | None) -> tuple[str, ...] | None:
    """Names behind commas."""
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _given(options: dict[str, Any], kind: str, others: dict[str, Any]) -> dict[str, Any]:
    """Options that were given; an error when one of the others was."""
    misplaced = [
        f"--{name.replace('_', '-').replace('conditions', 'condition')}"
        for name, value in others.items()
        if value is not None
    ]
    if misplaced:
        raise ValueError(f"{', '.join(misplaced)} cannot be used with {kind}")
    return {name: value for name, value in options.items() if value is not None}


@app.command()
def build(out: Annotated[Path, typer.Option(help="Folder for the files; made if it is missing.")]) -> None:
    """Rebuild the shipped files from the original data in REFWFM_DATA."""
    with clear_errors():
        out.mkdir(parents=True, exist_ok=True)
        for path in build_shipped(out):
            _say(f"wrote {path}  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")


def _summarise(family: Family | CloudFamily) -> None:
    table = Table(title=family.name, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    kind = "clouds" if isinstance(family, CloudFamily) else "Gaussians"
    table.add_row("members", f"{len(family)} {kind}")
    table.add_row("dimension", str(family.dimension))
    rows = _of_clouds(family) if isinstance(family, CloudFamily) else _of_gaussians(family)
    for what, value in rows.items():
        table.add_row(what, value)
    if family.labels is not None:
        counts = np.bincount(family.labels, minlength=len(family.label_names))
        table.add_row(
            "classes", ", ".join(f"{n} {c}" for n, c in zip(family.label_names, counts, strict=True))
        )
    for name, values in zip(family.condition_names, family.conditions.T, strict=True):
        table.add_row(f"condition {name}", _range(values))
    if family.members:
        table.add_row("names", f"{family.members[0]} ... {family.members[-1]}")
    table.add_row("about", family.about)
    Console().print(table)


def _of_gaussians(family: Family) -> dict[str, str]:
    mean, cov = family.gaussians
    eigenvalues = np.clip(np.linalg.eigvalsh(cov), 0, None)  # (N, d), ascending; rounding can push below 0
    ranks = np.linalg.matrix_rank(cov, hermitian=True)
    return {
        "means, smallest and largest coordinate": f"{mean.min():.4g} ... {mean.max():.4g}",
        "means, standard deviation in all": f"{np.sqrt(mean.var(axis=0).sum()):.4g}",
        "longest axis of a member (1 s.d.)": _range(np.sqrt(eigenvalues[:, -1])),
        "shortest axis of a member (1 s.d.)": _range(np.sqrt(eigenvalues[:, 0])),
        "rank of the covariances": f"{ranks.min()} ... {ranks.max()} of {family.dimension}",
    }


def _of_clouds(family: CloudFamily) -> dict[str, str]:
    starts = family.offsets[:-1]
    extent = np.maximum.reduceat(family.points, starts) - np.minimum.reduceat(family.points, starts)
    return {
        "points of a member": _range(family.sizes),
        "points in all": str(len(family.points)),
        "smallest and largest coordinate": f"{family.points.min():.4g} ... {family.points.max():.4g}",
        "longest side of a member's bounding box": _range(extent.max(axis=1)),
        "weights": "uniform" if family.weights is None else "own",
    }


def _range(values: NDArray[Any]) -> str:
    return f"{values.min():.4g} ... {values.max():.4g}, median {np.median(values):.4g}"


def _say(line: str) -> None:
    Console().print(line, soft_wrap=True, markup=False, highlight=False)
