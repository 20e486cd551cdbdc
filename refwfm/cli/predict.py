"""``refwfm predict``: where the particles of given populations go, by a model of Meta Flow Matching."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from refwfm.backends import load as load_backend
from refwfm.cli._common import Backend, family_in_words, named_path, say
from refwfm.cli._errors import clear_errors
from refwfm.cli.population_data import are_populations
from refwfm.cli.population_runs import STEPS
from refwfm.datasets import CloudFamily, clouds_from_arrays, load, load_populations, save_anndata, save_family
from refwfm.datasets._anndata import is_anndata
from refwfm.datasets.annotated import cells_of
from refwfm.datasets.own_populations import texts
from refwfm.runs import models
from refwfm.training import population_prediction
from refwfm.training.algorithm import trained
from refwfm.training.config import MetaFMConfig

Floats = NDArray[np.float64]


class _Given(NamedTuple):
    """One population of a file: its particles, their rows there, marks, condition, number if trained on."""

    points: Floats
    name: str
    rows: NDArray[np.int64] | None = None
    marks: Floats | None = None
    condition: Floats | None = None
    number: int | None = None


def predict(
    run: Annotated[
        Path,
        typer.Argument(
            parser=named_path, metavar="RUN", help="Folder of a run of Meta Flow Matching, or a checkpoint."
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="Populations: a name (refwfm data list), an .npz file of populations or of clouds, or an "
            "AnnData file (.h5ad, .zarr)."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(parser=named_path, metavar="PATH", help="File to write to: .npz, or .h5ad for AnnData."),
    ],
    condition: Annotated[
        str | None, typer.Option(help="What is done to all of them (default as in a file of populations).")
    ] = None,
    dose: Annotated[float | None, typer.Option(help="Its dose, for a model with doses.")] = None,
    population: Annotated[
        str | None, typer.Option(help="Column of obs with the populations (default all cells are one).")
    ] = None,
    basis: Annotated[
        str | None, typer.Option(help="Entry of obsm with the components (default X_pca, else X).")
    ] = None,
    layer: Annotated[str | None, typer.Option(help="Entry of layers with the genes, in place of X.")] = None,
    use_raw: Annotated[bool, typer.Option("--use-raw", help="Genes of raw, in place of X.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of Heun's method.")] = STEPS,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise that w/N models start from.")] = 0,
    backend: Backend = None,
    dtype: Annotated[str, typer.Option(help="Floating type: float32 or float64.")] = "float32",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Predict where populations go: each is embedded, and its particles are moved by what that tells."""
    with clear_errors():
        annotated = is_anndata(Path(data))
        _check_out(out, annotated, force)
        cells = {"--population": population, "--basis": basis, "--layer": layer, "--use-raw": use_raw or None}
        for option, value in cells.items():
            if value is not None and not annotated:
                raise ValueError(f"{option} is for AnnData files (.h5ad, .zarr)")
        where = (basis, layer, use_raw)
        model = models.load_model(run, load_backend(backend, dtype=dtype))
        if not isinstance(model.config, MetaFMConfig):
            raise ValueError(f"{run} is no run of Meta Flow Matching: refwfm train --kind meta-fm makes one")
        asked = None
        if condition is not None or dose is not None:
            asked = population_prediction.named_condition(model.setting, condition, dose)
        if annotated:
            read = _of_anndata(Path(data), model, population, where, asked)
        else:
            read = _of_family(data, model, asked)
        moved = [
            (each, _moved(model, each, steps, np.random.default_rng([seed, i])))
            for i, each in enumerate(read)
        ]
        name, about = Path(data).stem, f"{Path(data).name} as predicted by {run}"
        if out.suffix.lower() == ".h5ad":
            _write_anndata(Path(data), out, where, moved)
            say(f"wrote {out}: {sum(len(points) for _, points in moved)} cells in {len(moved)} populations")
            return
        family = replace(
            clouds_from_arrays([points for _, points in moved], name=name, about=about),
            members=tuple(each.name for each, _ in moved),
        )
        save_family(out, family)
        say(f"wrote {out}: {family_in_words(family)}")


def _check_out(out: Path, annotated: bool, force: bool) -> None:
    if out.suffix.lower() not in (".npz", *([".h5ad"] if annotated else [])):
        raise ValueError(f"--out must end in .npz, or in .h5ad where --data is AnnData; got {out}")
    if out.exists() and not force:
        raise ValueError(f"{out} exists; name another file with --out, or replace it with --force")


def _moved(model: models.Model[MetaFMConfig], each: _Given, steps: int, rng: Any) -> Floats:
    condition = each.condition
    if condition is None:  # an error where the model has conditions
        condition = population_prediction.named_condition(model.setting, None)
    try:
        points = population_prediction.predict(
            *(model.config, model.setting, trained(model.state), each.points),
            marks=each.marks,
            condition=condition,
            number=each.number,
            n_steps=steps,
            rng=rng,
        )
    except ValueError as error:
        raise ValueError(f"population {each.name}: {error}") from None
    if not np.all(np.isfinite(points)):
        raise ValueError(
            f"population {each.name}: the model moves it to NaN or infinity; it is far from its data"
        )
    return points


def _of_family(data: str, model: models.Model[MetaFMConfig], asked: Floats | None) -> Iterator[_Given]:
    """Populations of a family: sources, with their own conditions unless one is asked for, or clouds."""
    if not are_populations(data):
        family = load(data)
        if not isinstance(family, CloudFamily):
            raise ValueError(f"{data} is a family of Gaussians; Meta Flow Matching moves particles")
        if family.weights is not None:
            raise ValueError(f"{data}: particles of a population weigh the same; got clouds with weights")
        for i in range(len(family)):
            name = family.members[i] if family.members else str(i)
            yield _Given(family.cloud(i).points, name, condition=asked)
        return
    populations = load_populations(data)
    own = models.fingerprint(model.config, populations) == model.about["fingerprint"]
    numbers = np.cumsum(populations.parts == 0) - 1
    conditions = _conditions(populations, model) if asked is None else [asked] * len(populations)
    offsets = populations.source.offsets
    for i in range(len(populations)):
        rows = slice(offsets[i], offsets[i + 1])
        yield _Given(
            populations.source.points[rows],
            populations.members[i] if populations.members else str(i),
            marks=None if populations.marks is None else populations.marks[rows],
            condition=None if conditions is None else conditions[i],
            number=int(numbers[i]) if own and populations.parts[i] == 0 else None,
        )


def _conditions(populations: Any, model: models.Model[MetaFMConfig]) -> Floats | None:
    """Conditions of populations in the columns of the model; None where they have none."""
    names, setting = populations.condition_names, model.setting
    known = [
        each for each, size in zip(setting.condition_names, setting.condition_scale, strict=True) if size
    ]
    strange = [
        each for j, each in enumerate(names) if each not in known and populations.conditions[:, j].any()
    ]
    if strange:
        raise ValueError(
            f"{populations.name}: the model was not trained on condition {', '.join(strange)}; it knows "
            f"{', '.join(known) or 'none'}: name one with --condition"
        )
    if not names or not setting.condition_names:
        return None
    found = np.zeros((len(populations), len(setting.condition_names)))
    for j, each in enumerate(names):
        if each in setting.condition_names:
            found[:, setting.condition_names.index(each)] = populations.conditions[:, j]
    return found


def _of_anndata(
    path: Path,
    model: models.Model[MetaFMConfig],
    population: str | None,
    where: tuple[str | None, str | None, bool],
    asked: Floats | None,
) -> Iterator[_Given]:
    """Populations of the cells of a file, by a column of obs."""
    if model.setting.marks:
        raise ValueError("the model reads marks of particles: give it a file of populations (refwfm data)")
    points, obs, _ = cells_of(path, model.setting.dimension, *where)
    wrong = ~np.isfinite(points).all(axis=1)
    if wrong.any():
        raise ValueError(f"{path.name}: cell {int(np.argmax(wrong))} has NaN or infinity")
    if population is None:
        yield _Given(points, path.stem, rows=np.arange(len(points)), condition=asked)
        return
    if population not in obs:
        raise ValueError(f"{path.name} has no column {population!r} in obs; it has {', '.join(obs.columns)}")
    names = texts(obs[population], population, len(points))
    for name in np.unique(names).tolist():
        rows = np.flatnonzero(names == name)
        yield _Given(points[rows], name, rows=rows, condition=asked)


def _write_anndata(
    path: Path, out: Path, where: tuple[str | None, str | None, bool], moved: list[tuple[_Given, Floats]]
) -> None:
    """Cells with their obs, moved: in the entry of obsm that was read, or in X."""
    import anndata

    points, obs, key = cells_of(path, moved[0][1].shape[1], *where)
    found = np.empty_like(points)
    for each, ends in moved:
        found[each.rows] = ends
    if key is None:
        made = anndata.AnnData(X=found, obs=obs)
    else:
        made = anndata.AnnData(obs=obs, obsm={key: found, f"{key}_before": points})
    save_anndata(out, made)
