"""``refwfm train``: from options and files to a run in a folder."""

import errno
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from refwfm.cli._arithmetic import arithmetic_of
from refwfm.cli._asked import baseline, check_effect, collected, configuration, loaded, source_of
from refwfm.cli._common import (
    duration,
    family_in_words,
    named_path,
    only_json,
    say,
    title_of,
    training_progress,
)
from refwfm.cli._errors import clear_errors, in_words, is_expected
from refwfm.cli._options import with_options
from refwfm.cli._transfers import counting
from refwfm.cli.dry_run import tell
from refwfm.datasets import (
    CloudFamily,
    Family,
    PopulationFamily,
    hold_out,
    is_own,
)
from refwfm.runs import folders, models
from refwfm.runs.config_file import RunOptions, read_config
from refwfm.runs.folders import RunError
from refwfm.runs.recorder import Pace
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig, MetaCloudsConfig, MetaFMConfig, MetaOTConfig
from refwfm.training.semidiscrete import plan_in_words
from refwfm.training.team import TeamError

HOLD_OUT = "0.1"
"""What is held out of one's own families when nothing else is asked for."""

FEW = 20
"""Members, below which it is nothing."""

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
    count_transfers: Annotated[
        bool, typer.Option("--count-transfers", help="Count what crosses between host and device.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what memory and time the run takes; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: print it as JSON.")] = False,
    **given: Any,
) -> None:
    """Train a model over Gaussians, clouds, pairs or populations; its folder holds all that the run is."""
    with clear_errors(), only_json(dry_run and as_json), _processes.joined() as team:
        if as_json and not dry_run:
            raise ValueError("--json is for --dry-run; a run's numbers are in its folder's log.jsonl")
        run, options, folder = collected(config, out, given, resume=resume)
        if "rectify" in run:
            run, options = rectified_runs.tables(run, options, given, folder)
        by_default = "data" not in run
        run.setdefault("data", RunOptions.data)
        run["reference"] = reference or run["reference"]
        run, options, start = source_of(run, options)
        for key in {"data", "source"} & set(run):
            if is_own(run[key]):
                run[key] = str(Path(run[key]).resolve())  # to be found again from another folder
        device = _processes.own_device(run.get("backend"), team)
        place = load_backend(device, dtype=run["dtype"], reference=run["reference"])
        run["backend"] = _processes.common_name(place, team)
        teacher = rectified_runs.teacher(run, place)
        family = loaded(run["kind"], run["data"])
        options |= baseline(family, options)
        chosen = configuration(run["kind"], family, options, run.pop("preset"))
        check_effect(chosen, given)
        trainer = _processes.trained_together(arithmetic_of(place, run, chosen), team)
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
        if dry_run:
            kept = models.checkpoints_in(folder) if resume else []
            done = models.step_of(kept[-1]) if kept else 0
            tell(chosen, family, trainer, source=start, teacher=teacher, done=done, as_json=as_json)
            return
        stopping = _signals.Stopping()
        try:
            title = f"{family.name} {title_of(chosen)}"
            with (
                counting(count_transfers, place, folder) as counted,
                training_progress(title, chosen.steps, quiet=quiet or team.share.rank > 0) as bars,
                _signals.handled(stopping.handler),
            ):
                model: models.Model[Any] = folders.train(
                    chosen,
                    family,
                    trainer,
                    folder,
                    source=start,
                    teacher=teacher,
                    run=run,
                    resume=resume,
                    log_every=run["log_every"],
                    checkpoint_every=run["checkpoint_every"],
                    progress=bars.trained,
                    aligned=bars.aligned,
                    prepared=counted(_say_outer),
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
        before = read_config(began)[0].get("hold_out", "0")
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
    except Exception as error:
        if not is_expected(error) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
            raise
        raise OSError(f"{in_words(error)}; {_saved(folder)}") from error
