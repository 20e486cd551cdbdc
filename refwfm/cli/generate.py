"""``refwfm generate``: new measures of a trained model, any number of them, into a file."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from refwfm.backends import load as load_backend
from refwfm.cli import cloud_runs, gaussian_runs, meta_runs
from refwfm.cli._arithmetic import generating
from refwfm.cli._common import (
    Backend,
    duration,
    gigabytes,
    measures_in_words,
    named_path,
    progress,
    read_numbers,
    save_picture,
    say,
    with_matplotlib,
)
from refwfm.cli._errors import clear_errors
from refwfm.cli._run_data import Run, folder_of, load_run, own_data, start_of
from refwfm.cli.runs import CLOUD, Dtype, Solver, Times
from refwfm.datasets import CloudFamily, Family, to_anndata
from refwfm.datasets._blocks import save_anndata_blocks, save_blocks
from refwfm.datasets.to_annotated import check_anndata
from refwfm.generation import RUNGE_KUTTA
from refwfm.runs import folders, models, shipped
from refwfm.training.conditions import at_named, out_of_range, wanted_conditions
from refwfm.training.config import CloudConfig, MetaFMConfig
from refwfm.training.randomness import random_stream

BLOCK = 4096
"""Members that are generated and written at a time, at most."""

ENTRIES = 2**26
"""Numbers that they have together, at most."""

OWN = 2e8
"""Bytes that the process takes by itself."""

COPIES = 4
"""Arrays of a block that are held at a time, as measured."""

KEPT = 10
"""Arrays of the network's width that a layer keeps, as measured."""


def generate(
    run: Run,
    out: Annotated[
        Path,
        typer.Option(
            parser=named_path,
            metavar="PATH",
            help="File for the generated family: .npz, or .h5ad for AnnData.",
        ),
    ] = Path("generated.npz"),
    size: Annotated[int, typer.Option(min=1, help="Number of measures to generate.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Steps of generation (Algorithms 2 and 3).")] = 50,
    label: Annotated[
        str | None, typer.Option(help="Class to generate (default all, as often as in the data).")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="Conditions to generate at, as age=30,dose=1 (default those of members trained on).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sources.")] = 0,
    points: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Points of each cloud (default as in the data); with .h5ad also cells to draw from each "
            "Gaussian (default its mean alone).",
            rich_help_panel=CLOUD,
        ),
    ] = None,
    guidance: Annotated[
        float, typer.Option(help="Weight of classifier-free guidance.", rich_help_panel=CLOUD)
    ] = 0.0,
    solver: Solver = "euler",
    times: Times = "uniform",
    figure: Annotated[
        Path | None, typer.Option(parser=named_path, metavar="PATH", help="Also save a picture to this file.")
    ] = None,
    backend: Backend = None,
    dtype: Dtype = "float32",
    precision: Annotated[
        str | None,
        typer.Option(
            help="Arithmetic of the transformer's layers on torch: float32, tf32 (on GPUs) or bf16.",
            rich_help_panel=CLOUD,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that exists, and do what seems too large.")
    ] = False,
) -> None:
    """Generate new Gaussians or clouds from a trained model and save them as a family.

    The name of a family for which a model ships stands for that model: nothing has to be trained.
    They are made and written in blocks of at most 4096, so that memory does not grow with --size. The draws
    of a block depend on --seed and its number: a larger --size begins with the same whole blocks.
    """
    annotated = out.suffix.lower() == ".h5ad"
    with clear_errors():
        if not annotated and out.suffix.lower() != ".npz":
            raise ValueError(f"--out must end in .npz, or in .h5ad for AnnData; got {out}")
        if out.exists() and not force:
            raise ValueError(f"{out} exists; name another file with --out, or replace it with --force")
        if annotated:
            check_anndata()
        place = load_backend(backend, dtype=dtype)
        model = load_run(run, place)
        if isinstance(model.config, meta_runs.CONFIGS):
            raise ValueError(
                f"{run} is a run of Meta OT: it predicts where Sinkhorn's iteration should start, and "
                "generates nothing; refwfm evaluate measures what that saves"
            )
        if isinstance(model.config, MetaFMConfig):
            raise ValueError(
                f"{run} is a run of Meta Flow Matching: it moves given populations, and generates nothing; "
                "refwfm predict says where those of --data go"
            )
        place = generating(place, precision, model.config)
        if figure is not None and model.setting.shift.shape[0] < 2:
            raise ValueError("--figure: a picture needs two coordinates; the model's measures are 1-D")
        names: list[str] = model.about["label_names"]
        if label is not None and label not in names:
            known = ", ".join(names) or "none: it is unconditional"
            raise ValueError(f"label must be one of the model's classes ({known}); got {label!r}")
        chosen: dict[str, Any] = {"points": points, "guidance": guidance}
        clouds = isinstance(model.config, CloudConfig)
        if not clouds and chosen != {"points": points if annotated else None, "guidance": 0.0}:
            raise ValueError("--points and --guidance are for models over point clouds")
        how = {"n_steps": steps, "seed": seed, "method": solver, "times": times}
        if clouds:
            make: Any = partial(cloud_runs.generate, model, place, source=start_of(run, model), **chosen)
        else:
            make = partial(gaussian_runs.generate, model, place)
        basis = folders.read_basis(folder_of(run))
        room = _room(model, size, points, annotated, 0 if basis is None else len(basis.genes))
        _check_room(room, out, force=force)
        asked = partial(_asked, model, at, None if label is None else names.index(label), seed)
        first: list[Family | CloudFamily] = []  # of the blocks, for the picture
        sizes: list[NDArray[np.int64]] = []  # of their clouds

        def blocks() -> Iterator[Family | CloudFamily]:
            with progress("generating", size) as done:
                for block in _blocks(partial(make, **how), asked, size, room, done):
                    first.extend([] if first else [block])
                    if isinstance(block, CloudFamily):
                        sizes.append(block.sizes)
                    yield replace(block, basis=basis)

        if annotated:
            about = {"run": str(run), "step": model.state.step, "seed": seed, "steps": steps}
            _write_anndata(out, blocks(), cells=None if clouds else points, seed=seed, about=about)
        else:
            save_blocks(out, blocks())
        low, high = (int(f(np.concatenate(sizes))) if clouds else 0 for f in (np.min, np.max))
        calls = steps * len(RUNGE_KUTTA[solver][0])
        if shipped.is_shipped(run):
            say(f"{run.name}: the model that ships with refwfm; refwfm info {run.name} says how good it is")
        made = measures_in_words(size, low, high, first[0].dimension)
        say(f"wrote {out}: {made}; {calls} calls of the network for each")
        if figure is not None:
            _draw_beside_real(figure, run, model, first[0])
            if size > room.block:
                say(f"the picture shows the first {room.block:,}")


def _draw_beside_real(figure: Path, run: Path, model: models.Model[Any], family: Any) -> None:
    """Draw generated beside real members, and how far they are; alone, where the run's data are not found."""
    try:
        training, held = own_data(run, model)
    except ValueError as error:
        say(f"the picture has no real members beside the generated ones: {error}")
        save_picture(figure, family)
        return
    kind = cloud_runs if isinstance(model.config, CloudConfig) else gaussian_runs
    with_matplotlib(lambda: kind.draw_beside_real(figure, model, family, training, held))
    say(f"wrote {figure}")


class _Room(NamedTuple):
    """What generating takes: members in a block, bytes of memory for one, bytes on the disk for all."""

    block: int
    memory: float
    disk: float


def _room(model: models.Model[Any], size: int, points: int | None, annotated: bool, genes: int, /) -> _Room:
    """Predict from the largest arrays: those of a block's members, and those inside the network."""
    config, d = model.config, int(model.setting.shift.shape[0])
    if isinstance(config, CloudConfig):
        known = model.setting.sizes
        most, typical = (points, points) if points else (int(known.max()), float(known.mean()))
        numbers, rows = (d + genes, d) if annotated else (d, d)
    else:
        most = typical = (points or 1) if annotated else 1
        numbers, rows = (d + genes, d) if annotated else (0, d * (d + 1))
    entries = most * numbers + (0 if isinstance(config, CloudConfig) else d * (d + 1))
    block = int(min(size, BLOCK, max(1, ENTRIES // entries)))
    if not isinstance(config, CloudConfig):
        network = block * (KEPT * config.width + d * d) * config.depth
    else:
        kept = KEPT * config.width + (config.heads * most if config.network == "transformer" else 0)
        network = min(config.batch, block) * most * config.depth * kept
    disk = size * typical * (8 * rows + 4 * genes * annotated)
    return _Room(block, OWN + 8 * COPIES * block * entries + 4 * network, disk)


def _check_room(room: _Room, out: Path, /, *, force: bool) -> None:
    """Raise ``ValueError`` where the machine has less (Windows does not tell how much memory it has)."""
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else np.inf
    if room.memory > 2 * own and not force:  # predictions are right to a factor of 2
        raise ValueError(
            f"generating {room.block:,} at a time would take about {gigabytes(room.memory)} of memory, of "
            f"{gigabytes(own)} in this machine: fewer --points take less, and --force tries nevertheless"
        )
    folder = out.absolute().parent
    free = shutil.disk_usage(folder).free if folder.is_dir() else np.inf
    if room.disk > free and not force:
        raise ValueError(
            f"{out} would take up to {gigabytes(room.disk)} on a disk with {gigabytes(free)} left: a smaller "
            "--size takes less, and --force tries nevertheless"
        )


def _blocks(
    make: Callable[..., Family | CloudFamily],
    asked: Callable[[int, int], dict[str, Any]],
    size: int,
    room: _Room,
    done: Callable[[int], None],
) -> Iterator[Family | CloudFamily]:
    """Members, a block at a time; where there are several it is said what they will take."""
    began = time.monotonic()
    if size > room.block:
        say(
            f"{size:,} members in blocks of {room.block:,}: about {gigabytes(room.memory)} of memory, and up "
            f"to {gigabytes(room.disk)} on the disk"
        )
    for number, start in enumerate(range(0, size, room.block)):
        count = min(room.block, size - start)
        in_all = partial(lambda start, inside: done(start + inside), start)
        yield make(size=count, block=number, done=in_all, **asked(number, count))
        if number == 0 and size > count:  # written by now
            seconds = time.monotonic() - began
            say(f"a block takes {duration(seconds)}: about {duration(seconds * (size / count - 1))} to come")


def _asked(
    model: models.Model[Any], at: str | None, label: int | None, seed: int, block: int, size: int, /
) -> dict[str, Any]:
    """Labels and conditions of a block of members; say which conditions training has not seen."""
    labels = None if label is None else np.full(size, label)
    values = None if at is None else at_named(model.setting, read_numbers("--at", at), size)
    if model.setting.conditions is None:
        return {"labels": labels, "conditions": None}
    rng = random_stream(seed, "generation", 2 * block + 1)
    labels, values = wanted_conditions(model.setting, labels, values, size, rng=rng)
    if block == 0:
        for line in out_of_range(model.setting, values):
            say(line)
    return {"labels": labels, "conditions": values}


def _write_anndata(
    out: Path,
    blocks: Iterable[Family | CloudFamily],
    /,
    *,
    cells: int | None,
    seed: int,
    about: dict[str, Any],
) -> None:
    """Write generated families as one AnnData, and say what of it are genes."""
    members = rows = 0
    zeros, basis = 0.0, None

    def annotated() -> Iterator[Any]:
        nonlocal members, rows, zeros, basis
        for number, family in enumerate(blocks):
            names = tuple(str(members + i) for i in range(len(family)))
            data = to_anndata(replace(family, members=names), cells=cells, seed=(seed, number), about=about)
            data.obs_names = [str(rows + i) for i in range(data.n_obs)]
            members, rows, basis = members + len(family), rows + data.n_obs, family.basis
            zeros += data.n_obs * data.uns["refwfm"].get("zeros", 0.0)
            yield data

    save_anndata_blocks(out, annotated())
    if basis is None:
        say(
            f"{out} has coordinates alone, obsm['X_pca']: the run's data do not say how they become the "
            "expression of genes, as a family made from an AnnData file with expression does"
        )
        return
    say(
        f"{rows} cells x {len(basis.genes)} genes, {basis.expression} by way of {len(basis.loadings)} "
        f"components, which carry {basis.explained:.0%} of its variance in the real cells; zeros: "
        f"{zeros / rows:.1%} of the entries, {basis.zeros:.1%} in the real cells"
    )
