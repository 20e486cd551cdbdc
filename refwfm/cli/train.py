"""``refwfm train``: from options and files to a run in a folder."""

import errno
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from refwfm.backends import load as load_backend
from refwfm.cli import (
    _processes,
    _signals,
    cloud_runs,
    gaussian_runs,
    meta_runs,
    population_runs,
    rectified_runs,
)
from refwfm.cli._common import (
    duration,
    family_in_words,
    named_path,
    say,
    title_of,
    training_progress,
)
from refwfm.cli._errors import EXPECTED, clear_errors, in_words
from refwfm.cli._options import with_options
from refwfm.cli.population_data import are_populations
from refwfm.couplings.inner import ENTROPIC
from refwfm.datasets import (
    CATALOGUE,
    PAIRS,
    CloudFamily,
    Family,
    PairFamily,
    PopulationFamily,
    hold_out,
    holds_gaussians,
    is_folder_of_arrays,
    is_own,
    load,
)
from refwfm.datasets.own_pairs import is_pair_file
from refwfm.runs import folders, models, shipped
from refwfm.runs.folders import TABLES, RunError, RunOptions
from refwfm.runs.recorder import Pace
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig, MetaCloudsConfig, MetaFMConfig, MetaOTConfig
from refwfm.training.noise import FAMILY, SOURCES
from refwfm.training.presets import with_preset
from refwfm.training.semidiscrete import SEMIDISCRETE, PlanOptions, plan_in_words
from refwfm.training.team import TeamError

HOLD_OUT = "0.1"
"""What is held out of one's own families when nothing else is asked for."""

FEW = 20
"""Members, below which it is nothing."""

KINDS: dict[tuple[str, type], tuple[str, type[TrainingConfig]]] = {
    ("flow", Family): ("Gaussians", GaussianConfig),
    ("flow", CloudFamily): ("point clouds", CloudConfig),
    ("meta-ot", PairFamily): ("pairs of histograms", MetaOTConfig),
    ("meta-ot", CloudFamily): ("pairs of clouds", MetaCloudsConfig),
    ("meta-fm", PopulationFamily): ("populations", MetaFMConfig),
}
"""What is learned and from what, in words, and the configuration of such runs."""

UNREAD = {("mean_scale", "cov_scale"): "state_features", ("point_scale",): "point_features"}
"""Options that are not read where another one is 0."""

LONG = 600
"""Seconds of training from which on it is said what would be shorter."""


@with_options(
    TrainingConfig, GaussianConfig, CloudConfig, MetaOTConfig, MetaCloudsConfig, MetaFMConfig, RunOptions
)
def train(
    config: Annotated[
        Path | None,
        typer.Option(
            parser=named_path,
            metavar="PATH",
            help="TOML file with options; those on the command line override it.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(parser=named_path, metavar="PATH", help="Folder of the run (default runs/DATA-METHOD)."),
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Use the plain functions and no faster twins.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bar.")] = False,
    **given: Any,
) -> None:
    """Train a model over Gaussians, clouds, pairs or populations; its folder holds all that the run is."""
    with clear_errors(), _processes.joined() as team:
        run, options, folder = _collected(config, out, given, resume=resume)
        if "rectify" in run:
            run, options = rectified_runs.tables(run, options, given, folder)
        by_default = "data" not in run
        run.setdefault("data", RunOptions.data)
        run["reference"] = reference or run["reference"]
        run, options, start = _source(run, options)
        for key in {"data", "source"} & set(run):
            if is_own(run[key]):
                run[key] = str(Path(run[key]).resolve())  # to be found again from another folder
        device = _processes.own_device(run.get("backend"), team)
        place = load_backend(device, dtype=run["dtype"], reference=run["reference"])
        run["backend"] = _processes.common_name(place, team)
        teacher = rectified_runs.teacher(run, place)
        family = _loaded(run["kind"], run["data"])
        options |= _baseline(family, options)
        chosen = _configuration(run["kind"], family, options, run.pop("preset"))
        _check_effect(chosen, given)
        family, held = _held_out(run, chosen, family, folder, resume=resume)
        rectified_runs.check_data(run, teacher, family)
        say(f"{title_of(chosen)} on {family.name}: {family_in_words(family)}, {place.name}")
        if teacher is not None:
            say(
                f"learning from {getattr(chosen, 'rectified_pairs', 0):,} pairs that the model of "
                f"{run['rectify']} makes first"
            )
        if by_default:
            say(f"--data was not given: {family.name} is the default (refwfm data list names others)")
        stopping = _signals.Stopping()
        try:
            title = f"{family.name} {title_of(chosen)}"
            with (
                training_progress(title, chosen.steps, quiet=quiet or team.share.rank > 0) as bars,
                _signals.handled(stopping.handler),
            ):
                model: models.Model[Any] = folders.train(
                    chosen,
                    family,
                    _processes.trained_together(place, team),
                    folder,
                    source=start,
                    teacher=teacher,
                    run=run,
                    resume=resume,
                    log_every=run["log_every"],
                    checkpoint_every=run["checkpoint_every"],
                    progress=bars.trained,
                    aligned=bars.aligned,
                    prepared=_say_outer,
                    paced=_say_pace(chosen),
                    stop=stopping,
                    team=team,
                )
        except (KeyboardInterrupt, TeamError) as error:
            _processes.check_team(team, error, folder)
            say(_processes.stopped(folder))
            raise typer.Exit(stopping.exit_code) from None
    if team.share.rank:
        return
    with clear_errors(stopped=f"stopped; {_saved(folder)}"), _trained(folder):
        if stopping():  # during the last step
            raise KeyboardInterrupt
        figure = folder / "figures" / "generated.png"
        if isinstance(family, PopulationFamily):
            population_runs.after_training(model, family)
        elif run["kind"] == "meta-ot":
            meta_runs.after_training(model, family, place, figure.with_name("errors.png"), held=held)
        elif isinstance(family, CloudFamily):
            cloud_runs.after_training(model, family, place, figure, source=start, held=held)
        else:
            gaussian_runs.after_training(model, family, place, figure, held=held)
        more = "generate {} draws more" if run["kind"] == "flow" else "evaluate {} measures it"
        say(f"the run is in {folder}; refwfm {more.format(shlex.quote(str(folder)))}")


def _say_outer(setting: Any) -> None:
    """Say how good a semidiscrete plan is, where one was fitted."""
    plan = getattr(setting, "outer", None)
    if plan is not None:
        say(plan_in_words(plan))


def _say_pace(config: TrainingConfig) -> Callable[[Pace], None]:
    """Say how large a run is and how long it will take, and if that is long, what would be shorter."""

    def paced(pace: Pace) -> None:
        seconds = pace.seconds * pace.left
        ahead = f", about {duration(seconds)} for the {pace.left:,} steps to come" if pace.left else ""
        say(f"{pace.parameters:,} parameters, batch {config.batch}: {pace.seconds:.2g} s a step{ahead}")
        if seconds > LONG:
            smaller = ", ".join(
                f"--{name} (now {getattr(config, name)})" for name in ("batch", "width", "depth")
            )
            fitting = float(f"{LONG / pace.seconds:.2g}")
            say(
                f"it can be stopped and resumed at any time; --steps {max(1, fitting):.0f} takes "
                f"{duration(LONG)}, and a step takes less with a smaller {smaller}"
            )

    return paced


def _held_out(
    run: dict[str, Any], config: TrainingConfig, family: Any, folder: Path, *, resume: bool
) -> tuple[Any, Any]:
    """Members to train on, and those held out or None; how is noted in the table [run], and said."""
    how, began = run.get("hold_out"), folder / "config.toml"
    paired = isinstance(config, CloudConfig) and config.outer == "paired"
    whole = paired or not isinstance(family, Family | CloudFamily)
    if resume and began.exists():
        before = folders.read_config(began)[0].get("hold_out", "0")
        if how not in (None, before):
            raise RunError(f"{folder} was started with hold_out = {before} (now {how}); resume with the same")
        how = before
    elif how is None and not whole and is_own(run["data"]):
        how = HOLD_OUT if len(family) >= FEW else "0"
        if how == "0":
            say(f"nothing held out: {family.name} has only {len(family)} members (--hold-out 0.1 does)")
    if how is None or (whole and how == "0"):
        return family, None
    if whole:
        why = "a paired plan needs every member" if paired else "pairs and populations have their own parts"
        raise ValueError(f"--hold-out {how}: {why}; leave it out")
    run["hold_out"] = how
    training, held = hold_out(family, how, seed=config.seed)
    if held is not None:
        say(f"held out: {len(held)} of the {len(family)} members, by --hold-out {how} (0 for none)")
        group = "cluster" if family.basis is None else family.basis.group
        if group != "cluster" and how[0].isdigit():
            say(f"a {group} shares cells with others; --hold-out COLUMN keeps whole sections out")
    return training, held


def _saved(folder: Path) -> str:
    return f"the training is saved: refwfm evaluate {shlex.quote(str(folder))} measures it"


@contextmanager
def _trained(folder: Path) -> Iterator[None]:
    """Add to what goes wrong after training that the training is saved."""
    try:
        yield
    except EXPECTED as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise
        raise OSError(f"{in_words(error)}; {_saved(folder)}") from error


def _collected(
    config: Path | None, out: Path | None, given: dict[str, Any], *, resume: bool
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Tables [run] and [train]: what was given, else a file's, else the defaults; and the run's folder."""
    run, options = ({}, {}) if config is None else folders.read_config(config)
    _check_named({**run, **given}, resume=resume)
    folder = out or _default_folder({**run, **given}, {**options, **given})
    if config is None and resume:
        if not (folder / "config.toml").exists():
            if str(folder) in shipped.names():
                raise RunError(folders.NOT_RESUMED.format(shipped.folder(str(folder))))
            raise ValueError(f"nothing to resume in {folder}: it holds no run (--out names the run's folder)")
        run, options = folders.read_config(folder / "config.toml")
        _check_named({**run, **given})
    defaults = {name: each.default for name, each in TABLES["run"].items() if each.default is not None}
    defaults.pop("data")
    run = {**defaults, **run, **{name: value for name, value in given.items() if name in TABLES["run"]}}
    run.pop("out", None)
    folders.check_run_options(run)
    options = {**options, **{name: value for name, value in given.items() if name in TABLES["train"]}}
    return run, options, folder


def _check_named(run: dict[str, Any], *, resume: bool = False) -> None:
    """Raise ``ValueError`` where data and what is to be learned from them are known not to go together."""
    kind, data = run.get("kind", RunOptions.kind), run.get("data")
    for each, what in (("meta-ot", meta_runs.WHAT), ("meta-fm", population_runs.WHAT)):
        if kind == each and data is None and not resume:
            raise ValueError(f"--kind {each} needs --data: {what}")
    if kind != "meta-fm" and data is not None and are_populations(data):
        raise ValueError(
            f"{data}: populations before and after are for Meta Flow Matching: add --kind meta-fm"
        )
    if kind == "flow" and data is not None and (data in PAIRS or is_pair_file(Path(data))):
        raise ValueError(f"{data}: pairs of histograms are for Meta OT: add --kind meta-ot")


def _loaded(kind: str, name: str) -> Any:
    """Data of what is learned."""
    if kind == "meta-fm":
        return population_runs.load_own(name)
    return meta_runs.load_measures(name) if kind == "meta-ot" else load(name)


def _source(
    run: dict[str, Any], options: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any], CloudFamily | None]:
    """Tell a source that is a family from a kind of noise; load it."""
    name = options.get("source", run.get("source"))
    if name == FAMILY:  # as a run's own file has it, beside the family's name in its table [run]
        name = run.get("source")
    if name == FAMILY:
        raise ValueError("source = 'family' needs the family's name: --source NAME")
    if name is None or name in SOURCES:
        return {key: value for key, value in run.items() if key != "source"}, options, None
    start = load(name)
    if not isinstance(start, CloudFamily):
        raise ValueError(f"--source: {name} is a family of Gaussians; flows between families are for clouds")
    return {**run, "source": name}, {**options, "source": FAMILY}, start


def _configuration(learned: str, family: Any, options: dict[str, Any], preset: str) -> TrainingConfig:
    """Configuration of what is learned from the family; an option of another kind is an error.

    It holds the values of the preset, so that a run is continued without it.
    """
    words, kind = KINDS[learned, type(family)]
    names = {each: {field.name for field in fields(config)} for each, config in KINDS.values()}
    for name in options:
        if name not in names[words]:
            others = " and ".join(each for each, known in names.items() if name in known)
            raise ValueError(f"{name} is an option for {others}, and {family.name} is a family of {words}")
    return kind(**with_preset(preset, kind, options, family=family))


def _baseline(family: Any, options: dict[str, Any]) -> dict[str, Any]:
    """No baseline for pairs that have only a cost, unless one is asked for; say so."""
    if not isinstance(family, PairFamily) or family.axes is not None or family.points is not None:
        return {}
    if "baseline" in options:
        return {}
    say(f"baseline none: {family.name} has a cost and no points, which the Gaussian potential would need")
    return {"baseline": "none"}


def _check_effect(config: TrainingConfig, given: dict[str, Any]) -> None:
    """Raise ``ValueError`` for an option on the command line that would change nothing."""
    for names, needed in UNREAD.items():
        for name in names:
            if name in given and not getattr(config, needed, True):
                raise ValueError(
                    f"--{name.replace('_', '-')} has no effect with --{needed.replace('_', '-')} 0: give both"
                )
    for name in ("decay", "decay_every"):
        if name in given and config.schedule == "cosine":
            raise ValueError(f"--{name.replace('_', '-')} has no effect with --schedule cosine")
    for name in ("time_mean", "time_deviation"):
        if name in given and getattr(config, "time_law", None) == "uniform":
            raise ValueError(f"--{name.replace('_', '-')} has no effect with --time-law uniform")
    method = getattr(config, "method", "riemannian")
    if given.get("bounded_lifts") and method != "riemannian":
        raise ValueError(f"--bounded-lifts has no effect with --method {method}, which has no lifts")
    if isinstance(config, PlanOptions) and config.outer != SEMIDISCRETE:
        for name in ("outer_cost", "outer_tol", "outer_steps"):
            if name in given:
                raise ValueError(
                    f"--{name.replace('_', '-')} is for --outer {SEMIDISCRETE}, and has no effect with "
                    f"{config.outer}"
                )
    if not isinstance(config, CloudConfig):
        return
    if "start_steps" in given and config.inner_start != "amortised":
        raise ValueError(
            f"--start-steps is for --inner-start amortised, and has no effect with {config.inner_start}"
        )
    for name in ("inner_tol", "sinkhorn_steps", "eps", "scale_cost"):
        if name in given and config.inner not in ("auto", *ENTROPIC):
            raise ValueError(
                f"--{name.replace('_', '-')} is for plans that Sinkhorn's iteration solves (--inner "
                f"{', '.join(ENTROPIC)}), and has no effect with --inner {config.inner}"
            )


def _default_folder(run: dict[str, Any], train: dict[str, Any]) -> Path:
    """Folder of a run that names none, named after its data and method."""
    if "rectify" in run and "out" not in run:
        return rectified_runs.default_folder(run["rectify"])
    data = run.get("data", RunOptions.data)
    if run.get("kind") in ("meta-ot", "meta-fm"):
        method = train.get("variant", "mfm") if run["kind"] == "meta-fm" else "meta-ot"
    else:
        method = train.get("method", GaussianConfig.method if _is_gaussian(data) else "clouds")
    return named_path(run["out"]) if "out" in run else Path("runs") / f"{Path(data).stem}-{method}"


def _is_gaussian(data: str) -> bool:
    entry = CATALOGUE.get(data)
    if entry is None and is_folder_of_arrays(data):
        return holds_gaussians(data)
    return entry.kind == "Gaussians" if entry is not None else isinstance(load(data), Family)
