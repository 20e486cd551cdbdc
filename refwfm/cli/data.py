"""``refwfm data``: which families there are, what is in them, and how to make one's own."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from refwfm.cli._common import named_path, save_picture, say
from refwfm.cli._errors import clear_errors
from refwfm.cli._summary import summarise
from refwfm.cli.own_data import clouds, gaussians
from refwfm.cli.population_data import are_populations, populations, print_populations, summarise_populations
from refwfm.datasets import (
    CATALOGUE,
    PAIRS,
    build_shipped,
    load,
    load_populations,
    save_family,
    save_folder,
)
from refwfm.datasets.own_pairs import is_pair_file
from refwfm.runs import shipped

Name = Annotated[str, typer.Argument(help="Name of a family, a file ending in .npz, or a folder of arrays.")]

app = typer.Typer(
    no_args_is_help=True, help="Families of Gaussians and of point clouds: list, show, make your own."
)


@app.command("list", epilog="Example: refwfm data list")
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
            ships = f"yes{'*' * (name in shipped.names())}" if entry.shipped else "-"
            table.add_row(name, *row, ships, entry.about)
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
    say("yes*: a trained model ships, too: refwfm generate NAME draws from it, refwfm info NAME describes it")
    say("held out: members for evaluation only, which are the family NAME-test")
    say("what does not ship comes from the folder REFWFM_DATA, or is downloaded where a home serves it")
    say("N = files: as many as the files there hold")


def _span(sizes: tuple[int, int] | None) -> str:
    if sizes is None:
        return "-"
    low, high = sizes
    return str(low) if low == high else f"{low}-{high}"


@app.command(epilog="Example: refwfm data show cities --figure cities.png")
def show(
    name: Name,
    figure: Annotated[
        Path | None,
        typer.Option(
            parser=named_path, metavar="PATH", help="Also save a picture to this file (.png, .pdf, .svg)."
        ),
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
        summarise(family)
        if figure is not None:
            save_picture(figure, family)


@app.command(epilog="Example: refwfm data convert family.npz family")
def convert(
    name: Name,
    out: Annotated[
        Path, typer.Argument(parser=named_path, metavar="OUT", help="New folder, or a file ending in .npz.")
    ],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a family as a folder of arrays, of which training reads what it needs, or as a file."""
    with clear_errors():
        family = load(name)
        if out.suffix.lower() != ".npz":
            save_folder(out, family)
        elif out.exists() and not force:
            raise ValueError(f"{out} exists; name another file, or replace it with --force")
        else:
            save_family(out, family)
        say(f"wrote {out}: load it by that name")


app.command(
    "gaussians", epilog="Example: refwfm data gaussians cells.h5ad --by niche --k 40 --out family.npz"
)(gaussians)
app.command("clouds", epilog="Example: refwfm data clouds points.csv --cloud sample --out family.npz")(clouds)
app.command(
    "populations",
    epilog="Example: refwfm data populations screen.h5ad --population sample --condition drug --control DMSO "
    "--out screen.npz",
)(populations)


@app.command(epilog="Example: refwfm data build --out files")
def build(
    out: Annotated[
        Path,
        typer.Option(parser=named_path, metavar="PATH", help="Folder for the files; made if it is missing."),
    ],
) -> None:
    """Rebuild the shipped files from the original data in REFWFM_DATA."""
    with clear_errors():
        out.mkdir(parents=True, exist_ok=True)
        for path in build_shipped(out):
            say(f"wrote {path}  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
