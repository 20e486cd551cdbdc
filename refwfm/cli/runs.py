"""``refwfm train``, ``generate`` and ``evaluate``: options, files, and which kind of model it is."""

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import Progress
from rich.table import Table

from refwfm.backends import load as load_backend
from refwfm.cli import cloud_runs, gaussian_runs
from refwfm.cli._common import console, mean_and_spread, say, training_progress
from refwfm.cli._errors import clear_errors
from refwfm.couplings.outer import INNER, OUTER
from refwfm.datasets import CATALOGUE, CloudFamily, Family, load, save_family
from refwfm.runs import folders, models
from refwfm.training.clouds import prepare
from refwfm.training.config import SOURCES, CloudConfig, GaussianConfig, TrainingConfig

GAUSSIAN, CLOUD = "Models over Gaussians", "Models over point clouds"
DEFAULTS: dict[str, Any] = {"data": "cities", "dtype": "float32", "log_every": 50, "checkpoint_every": 1000}

Backend = Annotated[
    str | None,
    typer.Option(help="numpy, torch, torch:cuda, cupy, jax or strict [REFWFM_BACKEND, else numpy]."),
]
Reference = Annotated[bool, typer.Option("--reference", help="Use the plain functions, no faster twins.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run [runs/<data>-<method>].")]


def train(  # the options are the fields of both configurations, and the run's own
    config: Annotated[Path | None, typer.Option(help="TOML file; options given here go before it.")] = None,
    data: Annotated[str | None, typer.Option(help="Name of a family, or a file ending in .npz.")] = None,
    out: Out = None,
    steps: Annotated[int | None, typer.Option(help="Steps of training.")] = None,
    batch: Annotated[int | None, typer.Option(help="Pairs in a step.")] = None,
    width: Annotated[int | None, typer.Option(help="Width of the networks.")] = None,
    depth: Annotated[int | None, typer.Option(help="Hidden layers, or blocks of the transformer.")] = None,
    n_frequencies: Annotated[int | None, typer.Option(help="Fourier features of time.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the first step.")] = None,
    decay: Annotated[float | None, typer.Option(help="Factor on the learning rate ...")] = None,
    decay_every: Annotated[int | None, typer.Option(help="... every so many steps.")] = None,
    conditional: Annotated[
        bool | None, typer.Option(help="Condition on labels, where there are any.")
    ] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Bound on the gradient's norm; 0: none.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the parameters' running mean; 0: none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    method: Annotated[
        str | None, typer.Option(help="riemannian, euclidean or frobenius.", rich_help_panel=GAUSSIAN)
    ] = None,
    label_dim: Annotated[
        int | None, typer.Option(help="Length of the label embedding.", rich_help_panel=GAUSSIAN)
    ] = None,
    df: Annotated[
        int | None, typer.Option(help="Degrees of freedom of the source.", rich_help_panel=GAUSSIAN)
    ] = None,
    matching: Annotated[
        bool | None, typer.Option(help="Optimal pairing within each batch.", rich_help_panel=GAUSSIAN)
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            help="cholesky, normal, uniform, pure, barycentric, or a family of clouds to start from.",
            rich_help_panel=CLOUD,
        ),
    ] = None,
    source_size: Annotated[
        str | None, typer.Option(help="partner or data: points of a source.", rich_help_panel=CLOUD)
    ] = None,
    outer: Annotated[
        str | None, typer.Option(help=f"Which goes with which: {', '.join(OUTER)}.", rich_help_panel=CLOUD)
    ] = None,
    outer_eps: Annotated[
        float | None, typer.Option(help="Of an entropic outer plan; 0: exact.", rich_help_panel=CLOUD)
    ] = None,
    inner: Annotated[
        str | None,
        typer.Option(help=f"Which point goes where: auto, {', '.join(INNER)}.", rich_help_panel=CLOUD),
    ] = None,
    replace: Annotated[
        bool | None, typer.Option(help="Draw pairs from both plans with replacement.", rich_help_panel=CLOUD)
    ] = None,
    n_proj: Annotated[
        int | None, typer.Option(help="Directions of sliced plans.", rich_help_panel=CLOUD)
    ] = None,
    reference_members: Annotated[
        int | None,
        typer.Option(help="Clouds of which the reference is the barycenter.", rich_help_panel=CLOUD),
    ] = None,
    sigma: Annotated[
        float | None, typer.Option(help="Scale of barycentric noise.", rich_help_panel=CLOUD)
    ] = None,
    noise_mean: Annotated[
        float | None, typer.Option(help="Scale of the means of pure noise.", rich_help_panel=CLOUD)
    ] = None,
    noise_low: Annotated[
        float | None, typer.Option(help="Least scale of pure noise ...", rich_help_panel=CLOUD)
    ] = None,
    noise_high: Annotated[float | None, typer.Option(help="... and largest.", rich_help_panel=CLOUD)] = None,
    network: Annotated[
        str | None, typer.Option(help="transformer or baseline.", rich_help_panel=CLOUD)
    ] = None,
    neighbours: Annotated[
        int | None, typer.Option(help="Nearest neighbours that the baseline reads.", rich_help_panel=CLOUD)
    ] = None,
    n_points: Annotated[
        int | None, typer.Option(help="Most points of a cloud in a step.", rich_help_panel=CLOUD)
    ] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads.", rich_help_panel=CLOUD)] = None,
    hidden: Annotated[
        int | None, typer.Option(help="Width of the feed-forward layers.", rich_help_panel=CLOUD)
    ] = None,
    eps: Annotated[
        float | None, typer.Option(help="Of the entropic inner plans.", rich_help_panel=CLOUD)
    ] = None,
    sinkhorn_steps: Annotated[
        int | None, typer.Option(help="Iterations of Sinkhorn.", rich_help_panel=CLOUD)
    ] = None,
    scale_cost: Annotated[
        str | None,
        typer.Option(help="eps is relative to the cost's max, mean or none.", rich_help_panel=CLOUD),
    ] = None,
    label_drop: Annotated[
        float | None, typer.Option(help="Share of labels hidden, for guidance.", rich_help_panel=CLOUD)
    ] = None,
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
    """Train a model over Gaussians or clouds; its folder holds configuration, log, checkpoints, a figure."""
    given = {key: value for key, value in locals().items() if value is not None}
    with clear_errors():
        from_file = ({}, {}) if config is None else folders.read_config(config)
        folder = out or _default_folder(*({**part, **given} for part in from_file))
        if config is None and resume and (folder / "config.toml").exists():
            from_file = folders.read_config(folder / "config.toml")
        run = {**DEFAULTS, **from_file[0], **{k: v for k, v in given.items() if k in folders.RUN_TYPES}}
        run["reference"] = reference or from_file[0].get("reference", False)
        run.pop("out", None)
        options = {**from_file[1], **{k: v for k, v in given.items() if k in folders.OPTIONS}}
        run, options, start = _source(run, options)
        for key in {"data", "source"} & set(run):
            if run[key].endswith(".npz"):
                run[key] = str(Path(run[key]).resolve())  # to be found again from another folder
        place = load_backend(run.get("backend"), dtype=run["dtype"], reference=run["reference"])
        run["backend"] = place.name
        family = load(run["data"])
        chosen = _configuration(family, options)
        say(f"{_title(chosen)} on {family.name}: {_in_words(family)}, {place.name}")
        if isinstance(chosen, CloudConfig) and chosen.aligned:
            _align(chosen, family, start)
        try:
            title = f"{family.name} {_title(chosen)}"
            with training_progress(title, chosen.steps, quiet=quiet) as progress:
                model = folders.train(
                    chosen,
                    family,
                    place,
                    folder,
                    source=start,
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
        module = cloud_runs if isinstance(family, CloudFamily) else gaussian_runs
        module.after_training(model, family, start, place, folder / "figures" / "generated.png")
        say(f"the run is in {folder}; refwfm generate {shlex.quote(str(folder))} draws more")


def _source(
    run: dict[str, Any], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], CloudFamily | None]:
    """Tell a source that is a family from a kind of noise; load it."""
    name = options.get("source")
    if name == "family":  # as a run's own file has it, beside the family's name in its table [run]
        name = run.get("source")
    if name == "family":
        raise ValueError("source = 'family' needs the family's name: --source NAME")
    if name is None or name in SOURCES:
        return {key: value for key, value in run.items() if key != "source"}, options, None
    start = load(name)
    if not isinstance(start, CloudFamily):
        raise ValueError(f"--source: {name} is a family of Gaussians; flows between families are for clouds")
    return {**run, "source": name}, {**options, "source": "family"}, start


def _align(config: CloudConfig, family: Any, start: CloudFamily | None) -> None:
    """Align the families to their reference and keep the result on disk, where the run will find it."""
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("aligning", total=len(family))
        prepare(
            config, family, start, np.asarray, progress=lambda k, n: bar.update(task, completed=k, total=n)
        )


def _configuration(family: Family | CloudFamily, options: dict[str, Any]) -> TrainingConfig:
    """Configuration of the family's kind; an option of the other kind is an error."""
    clouds = isinstance(family, CloudFamily)
    kind = CloudConfig if clouds else GaussianConfig
    names = {field.name for field in fields(kind)}
    for name in options:
        if name not in names:
            raise ValueError(
                f"{name} is an option for {'Gaussians' if clouds else 'point clouds'}, "
                f"and {family.name} is a family of {'point clouds' if clouds else 'Gaussians'}"
            )
    return kind(**options)


def _title(config: TrainingConfig) -> str:
    return config.method if isinstance(config, GaussianConfig) else "clouds"


def _in_words(family: Family | CloudFamily) -> str:
    if isinstance(family, Family):
        return f"{len(family)} Gaussians in {family.dimension}-D"
    low, high = family.sizes.min(), family.sizes.max()
    return f"{len(family)} clouds of {low} to {high} points in {family.dimension}-D"


def _default_folder(run: dict[str, Any], train: dict[str, Any]) -> Path:
    """Folder of a run that names none: after its data and method."""
    data = run.get("data", DEFAULTS["data"])
    method = train.get("method", GaussianConfig.method if _is_gaussian(data) else "clouds")
    return Path(run["out"]) if "out" in run else Path("runs") / f"{Path(data).stem}-{method}"


def _is_gaussian(data: str) -> bool:
    entry = CATALOGUE.get(data)
    return entry.kind == "Gaussians" if entry is not None else isinstance(load(data), Family)


def generate(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint.")],
    out: Annotated[Path, typer.Option(help="File for the generated family.")] = Path("generated.npz"),
    size: Annotated[int, typer.Option(min=1, help="Measures to generate.")] = 512,
    steps: Annotated[int, typer.Option(min=1, help="Steps of Algorithm 2 or 3.")] = 50,
    label: Annotated[str | None, typer.Option(help="Generate this class only.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sources.")] = 0,
    points: Annotated[
        int | None, typer.Option(min=1, help="Points of each cloud [as in the data].", rich_help_panel=CLOUD)
    ] = None,
    guidance: Annotated[
        float, typer.Option(help="Weight of classifier-free guidance.", rich_help_panel=CLOUD)
    ] = 0.0,
    integrator: Annotated[
        str, typer.Option(help="euler, midpoint, heun or rk4.", rich_help_panel=CLOUD)
    ] = "euler",
    figure: Annotated[Path | None, typer.Option(help="Save a picture there as well.")] = None,
    backend: Backend = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Generate new Gaussians or clouds from a trained model and save them as a family."""
    with clear_errors():
        if out.exists() and not force:
            raise ValueError(f"{out} exists; name another file with --out, or replace it with --force")
        place = load_backend(backend, dtype=dtype)
        model = models.load_model(run, place)
        if figure is not None and model.setting.shift.shape[0] < 2:
            raise ValueError("--figure: a picture needs two coordinates; the model's measures are 1-D")
        names: list[str] = model.about["label_names"]
        wanted = None
        if label is not None:
            if label not in names:
                known = ", ".join(names) or "none: it is unconditional"
                raise ValueError(f"label must be one of the model's classes ({known}); got {label!r}")
            wanted = np.full(size, names.index(label))
        common: dict[str, Any] = {"size": size, "n_steps": steps, "seed": seed, "labels": wanted}
        common["source"] = _start(run, model)
        chosen: dict[str, Any] = {"points": points, "guidance": guidance, "integrator": integrator}
        family: Any
        if isinstance(model.config, CloudConfig):
            family = cloud_runs.generate(model, place, **common, **chosen)
        elif chosen != {"points": None, "guidance": 0.0, "integrator": "euler"}:
            raise ValueError("--points, --guidance and --integrator are for models over point clouds")
        else:
            family = gaussian_runs.generate(model, place, **common)
        save_family(out, family)
        say(f"wrote {out}: {_in_words(family)}")
        if figure is not None:
            _draw(figure, family)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint.")],
    data: Annotated[
        str | None, typer.Option(help="Real family to compare with [the run's own, or its held-out members].")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Measures to generate for each seed [512; clouds: 200].")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of Algorithm 2 or 3.")] = 50,
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the sources.")] = 3,
    guidance: Annotated[
        float, typer.Option(help="Weight of classifier-free guidance.", rich_help_panel=CLOUD)
    ] = 0.0,
    emd: Annotated[
        str, typer.Option(help="euclidean (W1) or squared (W2²) distances.", rich_help_panel=CLOUD)
    ] = "euclidean",
    backend: Backend = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers for machines.")] = False,
) -> None:
    """Measure a trained model: min W2² to the data (Gaussians), 1-NN accuracies (clouds)."""
    with clear_errors():
        if emd not in ("euclidean", "squared"):
            raise ValueError(f"--emd must be euclidean or squared; got {emd!r}")
        place = load_backend(backend, dtype=dtype)
        model = models.load_model(run, place)
        clouds = isinstance(model.config, CloudConfig)
        size = size or (200 if clouds else 512)
        numbers: dict[str, list[Any]]
        family: Any
        if clouds:
            own = _own_data(run, model)
            family = cloud_runs.held_out(own) if data is None else load(data)
            _check_comparable(model, family)
            numbers = cloud_runs.evaluate(
                model,
                own,
                family,
                _start(run, model),
                place,
                size=size,
                n_steps=steps,
                seeds=seeds,
                guidance=guidance,
                squared=emd == "squared",
            )
        else:
            family = load(data) if data is not None else _own_data(run, model)
            _check_comparable(model, family)
            numbers = gaussian_runs.evaluate(model, family, place, size=size, n_steps=steps, seeds=seeds)
    if as_json:
        about = {"run": str(run), "data": family.name, "size": size, "steps": steps, "seeds": seeds}
        say(json.dumps({**about, **numbers}))
        return
    title = f"{_title(model.config)} on {family.name}, step {model.state.step}"
    table = Table(title=title, show_header=False)
    for key, words in (cloud_runs if clouds else gaussian_runs).TITLES.items():
        if key in numbers:
            table.add_row(words, mean_and_spread(numbers[key]))
    console.print(table)
    note = f"; EMD: exact, of {emd} distances" if clouds else ""
    say(f"mean ± spread over {seeds} draws of {size} sources, {steps} steps{note}")


def _run_table(run: Path) -> dict[str, Any]:
    """The table [run] of the configuration that a run's folder, or a checkpoint's, holds."""
    config = (run if run.is_dir() else run.absolute().parents[1]) / "config.toml"
    if config.exists() and (run.is_dir() or run.absolute().parent.name == "checkpoints"):
        return folders.read_config(config)[0]
    return {}


def _start(run: Path, model: models.Model) -> Any:
    """The family that a model's flow starts from, or None when it starts from noise."""
    if not isinstance(model.config, CloudConfig) or model.config.source != "family":
        return None
    name = _run_table(run).get("source")
    if name is None:
        raise ValueError(f"{run} does not say from which family its flow starts: give the run's folder")
    return load(name)


def _own_data(run: Path, model: models.Model) -> Any:
    """The family that a model was trained on, or an error when it cannot be found unchanged."""
    name: str = _run_table(run).get("data", model.about["data"])
    try:
        family = load(name)
    except (ValueError, OSError) as error:
        raise ValueError(f"the run's data cannot be loaded; name it with --data ({error})") from error
    same_kind = isinstance(family, CloudFamily) == isinstance(model.config, CloudConfig)
    if not same_kind or models.fingerprint(model.config, family) != model.about["fingerprint"]:
        raise ValueError(
            f"{name} is not what the run was trained on; to compare with it nevertheless, use --data"
        )
    return family


def _check_comparable(model: models.Model, family: Any) -> None:
    if isinstance(family, CloudFamily) != isinstance(model.config, CloudConfig):
        kinds = ("Gaussians", "point clouds")
        made, given = kinds if isinstance(family, CloudFamily) else kinds[::-1]
        raise ValueError(f"the model generates {made}; data {family.name} is a family of {given}")
    d = model.setting.shift.shape[0]
    if family.dimension != d:
        raise ValueError(f"the model generates measures in {d}-D; data {family.name} is {family.dimension}-D")


def _draw(path: Path, family: Family | CloudFamily) -> None:
    try:
        if isinstance(family, CloudFamily):
            cloud_runs.draw_family(path, family)
        else:
            gaussian_runs.draw_family(path, family)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('pictures need matplotlib: pip install "refwfm[figures]"') from error
    say(f"wrote {path}")
