"""``refwfm train``, ``generate`` and ``evaluate``."""

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from refwfm import models, runs
from refwfm.backends import load as load_backend
from refwfm.cli._common import console, mean_and_spread, say, training_progress
from refwfm.cli._errors import clear_errors
from refwfm.config import GaussianConfig
from refwfm.datasets import Family, load, save_family
from refwfm.evaluation import Evaluation, draw, evaluate_source
from refwfm.evaluation import evaluate as evaluate_model

DEFAULTS: dict[str, Any] = {"data": "cities", "dtype": "float32", "log_every": 50, "checkpoint_every": 1000}

Backend = Annotated[
    str | None,
    typer.Option(help="numpy, torch, torch:cuda, cupy, jax or strict [REFWFM_BACKEND, else numpy]."),
]
Reference = Annotated[bool, typer.Option("--reference", help="Use the plain functions, no faster twins.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run [runs/<data>-<method>].")]


def train(  # the options are the fields of GaussianConfig, and the run's own
    config: Annotated[Path | None, typer.Option(help="TOML file; options given here go before it.")] = None,
    data: Annotated[str | None, typer.Option(help="Name of a family, or a file ending in .npz.")] = None,
    out: Out = None,
    method: Annotated[str | None, typer.Option(help="riemannian, euclidean or frobenius.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of training.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs in a step.")] = None,
    width: Annotated[int | None, typer.Option(help="Width of both networks.")] = None,
    depth: Annotated[int | None, typer.Option(help="Hidden layers of both networks.")] = None,
    n_frequencies: Annotated[int | None, typer.Option(help="Fourier features of time.")] = None,
    label_dim: Annotated[int | None, typer.Option(help="Length of the label embedding.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the first step.")] = None,
    decay: Annotated[float | None, typer.Option(help="Factor on the learning rate ...")] = None,
    decay_every: Annotated[int | None, typer.Option(help="... every so many steps.")] = None,
    df: Annotated[int | None, typer.Option(help="Degrees of freedom of the source's Wishart law.")] = None,
    matching: Annotated[bool | None, typer.Option(help="Optimal pairing within each batch.")] = None,
    conditional: Annotated[
        bool | None, typer.Option(help="Condition on labels, where there are any.")
    ] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Bound on the gradient's norm; 0: none.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the parameters' running mean; 0: none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    backend: Backend = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    reference: Reference = False,
    log_every: Annotated[int | None, typer.Option(min=1, help="Steps between lines of the log.")] = None,
    checkpoint_every: Annotated[
        int | None, typer.Option(min=1, help="... between checkpoints, at such a line.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a model over Gaussians; its folder holds configuration, log, checkpoints and a figure."""
    given = {key: value for key, value in locals().items() if value is not None}
    with clear_errors():
        from_file = ({}, {}) if config is None else runs.read_config(config)
        folder = out or _default_folder(*({**part, **given} for part in from_file))
        if config is None and resume and (folder / "config.toml").exists():
            from_file = runs.read_config(folder / "config.toml")
        run = {**DEFAULTS, **from_file[0], **{k: v for k, v in given.items() if k in runs.RUN_TYPES}}
        run["reference"] = reference or from_file[0].get("reference", False)
        run.pop("out", None)
        if run["data"].endswith(".npz"):
            run["data"] = str(Path(run["data"]).resolve())  # to be found again from another folder
        names = {field.name for field in fields(GaussianConfig)}
        chosen = GaussianConfig(**{**from_file[1], **{k: v for k, v in given.items() if k in names}})
        place = load_backend(run.get("backend"), dtype=run["dtype"], reference=run["reference"])
        run["backend"] = place.name
        family = load(run["data"])
        say(
            f"{chosen.method} on {family.name}: {len(family)} Gaussians in {family.dimension}-D, {place.name}"
        )
        title = f"{family.name} {chosen.method}"
        try:
            with training_progress(title, chosen.steps, quiet=quiet) as progress:
                model = runs.train(
                    chosen,
                    family,
                    place,
                    folder,
                    run=run,
                    resume=resume,
                    log_every=run["log_every"],
                    checkpoint_every=run["checkpoint_every"],
                    progress=progress,
                )
        except KeyboardInterrupt:
            where = shlex.quote(str(folder))
            say(f"stopped; continue from the last checkpoint with: refwfm train --resume --out {where}")
            raise typer.Exit(130) from None
        result = evaluate_model(model, family, place)
        _figure(folder / "figures" / "generated.png", result, family, model)
        say(f"min W2² to the data: {result.sq_distance.mean():.4g} (mean of {len(result.sq_distance)})")
        say(f"the run is in {folder}; refwfm generate {shlex.quote(str(folder))} draws more")


def _default_folder(run: dict[str, Any], train: dict[str, Any]) -> Path:
    """Folder of a run that names none: after its data and method."""
    data, method = run.get("data", DEFAULTS["data"]), train.get("method", GaussianConfig.method)
    return Path(run["out"]) if "out" in run else Path("runs") / f"{Path(data).stem}-{method}"


def generate(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint.")],
    out: Annotated[Path, typer.Option(help="File for the generated family.")] = Path("generated.npz"),
    size: Annotated[int, typer.Option(min=1, help="Gaussians to generate.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Steps of Algorithm 2.")] = 50,
    label: Annotated[str | None, typer.Option(help="Generate this class only.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sources.")] = 0,
    figure: Annotated[Path | None, typer.Option(help="Save a picture there as well.")] = None,
    backend: Backend = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Generate new Gaussians from a trained model and save them as a family."""
    with clear_errors():
        if out.exists() and not force:
            raise ValueError(f"{out} exists; name another file with --out, or replace it with --force")
        place = load_backend(backend, dtype=dtype)
        model = models.load_model(run, place)
        if figure is not None and model.setting.shift.shape[0] < 2:
            raise ValueError("--figure: a picture needs two coordinates; the model's Gaussians are 1-D")
        names: list[str] = model.about["label_names"]
        wanted = None
        if label is not None:
            if label not in names:
                known = ", ".join(names) or "none: it is unconditional"
                raise ValueError(f"label must be one of the model's classes ({known}); got {label!r}")
            wanted = np.full(size, names.index(label))
        with console.status(f"generating {size} Gaussians in {steps} steps"):
            generated, labels, _ = draw(model, place, size=size, n_steps=steps, seed=seed, labels=wanted)
        family = Family(
            name="generated",
            gaussians=generated,
            labels=labels,
            label_names=tuple(names),
            about=f"generated by a {model.config.method} model of {model.about['data']} "
            f"after {model.state.step} steps, seed {seed}, {steps} steps of generation",
        )
        save_family(out, family)
        say(f"wrote {out}: {size} Gaussians in {family.dimension}-D")
        if figure is not None:
            _draw(figure, family)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint.")],
    data: Annotated[str | None, typer.Option(help="Real family to compare with [the run's own].")] = None,
    size: Annotated[int, typer.Option(min=1, help="Gaussians to generate for each seed.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Steps of Algorithm 2.")] = 50,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the sources.")] = 3,
    backend: Backend = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers for machines.")] = False,
) -> None:
    """Measure a trained model: smallest W2² of each generated Gaussian to the data (Table 2)."""
    with clear_errors():
        place = load_backend(backend, dtype=dtype)
        model = models.load_model(run, place)
        family = load(data) if data is not None else _own_data(run, model)
        _check_comparable(model, family)
        results = [
            evaluate_model(model, family, place, size=size, n_steps=steps, seed=seed) for seed in range(seeds)
        ]
        source = [evaluate_source(model, family, place, size=size, seed=seed).mean() for seed in range(seeds)]
    numbers: dict[str, Any] = {
        "min_w2_sq": [float(r.sq_distance.mean()) for r in results],
        "bures_part": [float(r.bures_part.mean()) for r in results],
        "source_min_w2_sq": [float(value) for value in source],
        "repaired": [r.repaired for r in results],
    }
    if results[0].accuracy is not None:
        numbers["label_accuracy"] = [r.accuracy for r in results]
    if as_json:
        about = {"run": str(run), "data": family.name, "size": size, "steps": steps, "seeds": seeds}
        say(json.dumps({**about, **numbers}))
        return
    table = Table(title=f"{model.config.method} on {family.name}, step {model.state.step}", show_header=False)
    rows = {
        "min_w2_sq": "min W2² to the data",
        "bures_part": "  of it between covariances",
        "source_min_w2_sq": "min W2² of the source, for comparison",
        "label_accuracy": "label accuracy (nearest real Gaussian)",
        "repaired": "share that a step had to repair",
    }
    for key, title in rows.items():
        if key in numbers:
            table.add_row(title, mean_and_spread(numbers[key]))
    console.print(table)
    say(f"mean ± spread over {seeds} draws of {size} sources, {steps} steps")


def _own_data(run: Path, model: models.Model) -> Family:
    """The family that a model was trained on, or an error when it cannot be found unchanged."""
    config = (run if run.is_dir() else run.absolute().parents[1]) / "config.toml"
    name: str = model.about["data"]
    if config.exists() and (run.is_dir() or run.absolute().parent.name == "checkpoints"):
        name = runs.read_config(config)[0].get("data", name)
    try:
        family = load(name)
    except (ValueError, OSError) as error:
        raise ValueError(f"the run's data cannot be loaded; name it with --data ({error})") from error
    if models.fingerprint(model.config, family) != model.about["fingerprint"]:
        raise ValueError(
            f"{name} is not what the run was trained on; to compare with it nevertheless, use --data"
        )
    return family


def _check_comparable(model: models.Model, family: Family) -> None:
    d = model.setting.shift.shape[0]
    if family.dimension != d:
        raise ValueError(
            f"the model generates Gaussians in {d}-D; data {family.name} is {family.dimension}-D"
        )


def _figure(path: Path, result: Evaluation, family: Family, model: models.Model) -> None:
    """Picture of generated over real, where there is something to draw and to draw with."""
    if family.dimension < 2:
        say("no picture: it needs at least two coordinates")
        return
    try:
        from refwfm.paper_figures.comparison import draw_comparison
    except ModuleNotFoundError:
        say('no picture: it needs matplotlib (pip install "refwfm[figures]")')
        return
    path.parent.mkdir(exist_ok=True)
    draw_comparison(family, {model.config.method: result.generated}, path)
    say(f"wrote {path}")


def _draw(path: Path, family: Family) -> None:
    try:
        from refwfm.paper_figures.ellipses import draw_family
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('pictures need matplotlib: pip install "refwfm[figures]"') from error
    draw_family(family, path)
    say(f"wrote {path}")
