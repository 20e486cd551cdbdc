"""``refwfm data`` for populations before and after: list, show, make them of an AnnData file."""

import warnings
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from refwfm.cli._common import named_path
from refwfm.cli._errors import clear_errors
from refwfm.datasets import POPULATIONS, PopulationFamily, populations_from_anndata, save_populations
from refwfm.datasets._files import POPULATIONS_FORMAT, file_format
from refwfm.datasets._population_family import PARTS
from refwfm.datasets.own_populations import held_of


def print_populations() -> None:
    """Table of the populations that can be loaded by name."""
    table = Table(title="Populations before and after", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    for heading in ("N", "d"):
        table.add_column(heading, justify="right")
    table.add_column("ships", no_wrap=True)
    table.add_column("about", overflow="fold")
    for name, each in POPULATIONS.items():
        table.add_row(name, each.size, str(each.dimension), "yes" if each.shipped else "-", each.about)
    Console().print(table)


def are_populations(name: str) -> bool:
    """Whether a name, or the file of that name, is of populations; what reads others says what is wrong."""
    if not name.lower().endswith(".npz") or not Path(name).is_file():
        return name in POPULATIONS
    try:
        return file_format(name) == POPULATIONS_FORMAT
    except ValueError:
        return False


def summarise_populations(family: PopulationFamily) -> None:
    """Print what is known of populations."""
    table = Table(title=family.name, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("populations", f"{len(family)}, {'paired' if family.paired else 'matched independently'}")
    table.add_row("dimension", str(family.dimension))
    for what, clouds in (("before", family.source), ("after", family.target)):
        sizes = clouds.sizes
        spread = f"{sizes.min()} ... {sizes.max()}, median {np.median(sizes):g}"
        table.add_row(f"particles {what}", spread)
        table.add_row(f"coordinates {what}", f"{clouds.points.min():.4g} ... {clouds.points.max():.4g}")
    counts = np.bincount(family.parts, minlength=len(PARTS))
    table.add_row("parts", ", ".join(f"{part} {n}" for part, n in zip(PARTS, counts, strict=True)))
    table.add_row("conditions", ", ".join(family.condition_names) or "none")
    table.add_row("marks", "none" if family.marks is None else f"{family.marks.shape[1]} of each particle")
    for key, values in family.groups.items():
        distinct = sorted(set(values))
        shown = ", ".join(distinct[:12]) + f" and {len(distinct) - 12} more" * (len(distinct) > 12)
        shared = family.leaks(key) if (family.parts > 0).any() else ()
        leak = f" ({len(shared)} both trained on and held out)" if shared else ""
        table.add_row(key, shown + leak)
    if family.members:
        table.add_row("names", f"{family.members[0]} ... {family.members[-1]}")
    table.add_row("about", family.about)
    Console().print(table)


def populations(
    file: Annotated[
        Path, typer.Argument(parser=named_path, metavar="PATH", help="AnnData file (.h5ad, .zarr).")
    ],
    population: Annotated[str, typer.Option(help="Column of obs with the populations: sample, patient, ...")],
    condition: Annotated[str, typer.Option(help="Column of obs with what was done to them.")],
    control: Annotated[str, typer.Option(help="Value of that column that is the control.")],
    dose: Annotated[str | None, typer.Option(help="Column of obs with doses, as numbers.")] = None,
    marks: Annotated[
        str | None, typer.Option(help="Column of obs with a kind of each cell, which embeddings read.")
    ] = None,
    basis: Annotated[
        str | None, typer.Option(help="Entry of obsm with the components (default X_pca).")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Entry of layers to compute components from, in place of X.")
    ] = None,
    use_raw: Annotated[bool, typer.Option("--use-raw", help="Compute components from raw.")] = False,
    pcs: Annotated[int, typer.Option(min=1, help="Number of components.")] = 16,
    held_out: Annotated[
        str | None,
        typer.Option(help="For test: a share of the populations, 0.2, or COLUMN=VALUE,VALUE."),
    ] = None,
    validation: Annotated[
        str | None, typer.Option(help="For validation: a share, or COLUMN=VALUE,VALUE.")
    ] = None,
    min_cells: Annotated[int, typer.Option(min=1, help="Drop what has fewer cells.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the shares.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=named_path, metavar="PATH", help="File to write to (default the name of FILE, .npz)."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Turn an AnnData file into populations under a control and under conditions, and save them as .npz.

    In each population the cells of the control are the source, those of each other condition a target.
    """
    out = Path(f"{file.stem}.npz") if out is None else out
    with clear_errors():
        if out.exists() and not force:
            raise ValueError(f"{out} exists; name another file with --out, or replace it with --force")
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", UserWarning)
            family = populations_from_anndata(
                file,
                population=population,
                condition=condition,
                control=control,
                dose=dose,
                marks=marks,
                basis=basis,
                layer=layer,
                use_raw=use_raw,
                pcs=pcs,
                held_out=held_of(held_out, "--held-out"),
                validation=held_of(validation, "--validation"),
                min_cells=min_cells,
                seed=seed,
            )
        save_populations(out, family)
        summarise_populations(family)
        for each in told:
            Console().print(str(each.message), soft_wrap=True, markup=False, highlight=False)
        Console().print(f"wrote {out}: load it by that name", soft_wrap=True, markup=False, highlight=False)
