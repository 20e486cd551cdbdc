"""What a run was trained on, found again from its folder."""

from pathlib import Path
from typing import Any

from refwfm.cli import meta_runs, population_runs
from refwfm.datasets import CloudFamily, hold_out, load
from refwfm.runs import folders, models
from refwfm.training.config import CloudConfig, MetaCloudsConfig, MetaFMConfig


def folder_of(run: Path) -> Path:
    """Folder of a run that is given by itself, or by a checkpoint in it."""
    return run if run.is_dir() else run.absolute().parents[1]


def run_table(run: Path) -> dict[str, Any]:
    """The table [run] of the configuration that a run's folder, or a checkpoint's, holds."""
    config = folder_of(run) / "config.toml"
    if config.exists() and (run.is_dir() or run.absolute().parent.name == "checkpoints"):
        return folders.read_config(config)[0]
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
    if not same_kind or models.fingerprint(model.config, family) != model.about["fingerprint"]:
        raise ValueError(
            f"{name} is not what the run was trained on; to compare with it nevertheless, use --data"
        )
    return family, held
