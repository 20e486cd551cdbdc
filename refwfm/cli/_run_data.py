"""A run that is named on the command line, and what it was trained on, found again from its folder."""

import difflib
from pathlib import Path
from typing import Annotated, Any

import typer

from refwfm.cli import meta_runs, population_runs
from refwfm.cli._common import named_path
from refwfm.datasets import CATALOGUE, CloudFamily, hold_out, load
from refwfm.runs import models, shipped
from refwfm.runs.config_file import read_config
from refwfm.training.config import CloudConfig, MetaCloudsConfig, MetaFMConfig


def named_run(text: str | Path, /) -> Path:
    """Folder of a run, a checkpoint, or the folder of the model that ships for a family of that name.

    A run in a folder of that name goes before it; which of the two was meant is said where both are there.
    """
    path = named_path(text)
    if str(text) not in shipped.names():
        return path
    ours = shipped.folder(str(text))
    if (path / "config.toml").exists() or models.checkpoints_in(path):
        typer.echo(f"note: {path} is the run in this folder; the model that ships is {ours}", err=True)
        return path
    if path.exists():
        typer.echo(f"note: {path} is the model that ships; what has that name here is no run", err=True)
    return ours


Run = Annotated[
    Path,
    typer.Argument(
        parser=named_run,
        metavar="RUN",
        help="Folder of a run, a checkpoint, or the name of a family for which a trained model ships, such "
        "as niches.",
    ),
]
"""Argument of commands that read a model."""


def load_run(run: Path, backend: models.Backend, /) -> models.Model[Any]:
    """Model of a run; where there is none of that name, say which models ship."""
    try:
        return models.load_model(run, backend)
    except FileNotFoundError as error:
        name = str(run)
        if name in CATALOGUE and not run.exists():
            shipped.folder(name)  # says why there is none
        if not run.exists() and difflib.get_close_matches(name, shipped.names()):
            raise FileNotFoundError(f"{error}; models ship for {', '.join(shipped.names())}") from None
        raise


def folder_of(run: Path) -> Path:
    """Folder of a run that is given by itself, or by a checkpoint in it."""
    return run if run.is_dir() else run.absolute().parents[1]


def run_table(run: Path) -> dict[str, Any]:
    """The table [run] of the configuration that a run's folder, or a checkpoint's, holds."""
    config = folder_of(run) / "config.toml"
    if config.exists() and (run.is_dir() or run.absolute().parent.name == "checkpoints"):
        return read_config(config)[0]
    return {}


def start_of(run: Path, model: models.Model[Any]) -> Any:
    """The family that a model's flow starts from, or None when it starts from noise."""
    if not isinstance(model.config, CloudConfig) or model.config.source != "family":
        return None
    name = run_table(run).get("source")
    if name is None:
        raise ValueError(f"{run} does not say from which family its flow starts: give the run's folder")
    return load(name)


def own_data(run: Path, model: models.Model[Any]) -> tuple[Any, Any]:
    """The members that a model was trained on, and those that its run held out, or None.

    An error when they cannot be found unchanged.
    """
    table = run_table(run)
    name: str = table.get("data", model.about["data"])
    read: Any = load
    if isinstance(model.config, MetaFMConfig):
        read = population_runs.load_own
    elif isinstance(model.config, meta_runs.CONFIGS):
        read = meta_runs.load_measures
    family: Any
    try:
        family = read(name)
    except (ValueError, OSError) as error:
        raise ValueError(f"the run's data cannot be loaded; name it with --data ({error})") from error
    clouds = isinstance(model.config, CloudConfig | MetaCloudsConfig)
    same_kind = isinstance(family, CloudFamily) == clouds
    held, how = None, table.get("hold_out", "0")
    if same_kind and how != "0":
        family, held = hold_out(family, how, seed=model.config.seed)
    # What ships beside the model are its data, up to the rounding of another machine.
    unchanged = shipped.is_shipped(folder_of(run)) or (
        models.fingerprint(model.config, family) == model.about["fingerprint"]
    )
    if not same_kind or not unchanged:
        raise ValueError(
            f"{name} is not what the run was trained on; to compare with it nevertheless, use --data"
        )
    return family, held
