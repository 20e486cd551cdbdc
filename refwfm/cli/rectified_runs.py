"""What ``train --rectify RUN`` takes from the run that it names."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from refwfm.cli._run_data import folder_of, load_run, named_run, run_table
from refwfm.datasets import is_own
from refwfm.runs import models, shipped
from refwfm.runs.rectified import rectified_config
from refwfm.training.noise import FAMILY


def default_folder(name: str, /) -> Path:
    """Folder of a run that rectifies another one and names none."""
    return Path("runs") / f"{folder_of(named_run(name)).name}-rectified"


def tables(
    run: dict[str, Any], options: dict[str, Any], given: dict[str, Any], folder: Path, /
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tables [run] and [train] of a run that rectifies another one: what is not given is as in the other.

    Raises
    ------
    ValueError
        If what is given is not the other's, where it must be.
    """
    if given.get("preset", "paper") != "paper":
        raise ValueError("--preset has no effect with --rectify: options are those of the run that it names")
    path = named_run(run["rectify"])
    if path.resolve() == folder.resolve():
        raise ValueError(f"{folder} cannot rectify itself: name another folder with --out")
    try:
        model, other = load_run(path, models.Host()), run_table(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"--rectify: {error} (where a run has moved, --rectify says where it is)"
        ) from None
    noise = getattr(model.config, "source", FAMILY)
    wanted = {"hold_out": "0", "data": model.about["data"], "dtype": model.about.get("dtype", "float32")}
    wanted |= {} if noise == FAMILY else {"source": noise}
    for name in ("data", "hold_out", "source", "dtype"):
        had, asked = other.get(name, wanted.get(name)), (given if name == "dtype" else run).get(name)
        if asked is not None and is_own(asked):
            asked = str(Path(asked).resolve())
        if not other and asked is not None and name != "dtype":  # a checkpoint alone: its data are checked
            had = asked
        if asked not in (None, had):
            raise ValueError(
                f"--{name.replace('_', '-')} must be that of the run that is rectified, {had}; got {asked}"
            )
        run = {**run, name: had} if had is not None else run
    config = asdict(rectified_config(model.config, {k: v for k, v in options.items() if k != "source"}))
    chosen = {name: value for name, value in config.items() if value is not None}
    return {**run, "rectify": str(path.resolve())}, chosen


def teacher(run: dict[str, Any], backend: models.Backend, /) -> models.Model[Any] | None:
    """The model that a run rectifies, or None."""
    return load_run(Path(run["rectify"]), backend) if "rectify" in run else None


def check_data(run: dict[str, Any], model: models.Model[Any] | None, family: Any, /) -> None:
    """Raise ``ValueError`` unless the family is what the model that is rectified was trained on."""
    if model is None or shipped.is_shipped(folder_of(Path(run["rectify"]))):
        return
    if models.fingerprint(model.config, family) != model.about["fingerprint"]:
        raise ValueError(f"{run['data']} is no longer what {run['rectify']} was trained on")
