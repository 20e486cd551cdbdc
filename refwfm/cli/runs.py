"""``refwfm evaluate``: options, files, and which kind of model it is."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from refwfm.backends import load as load_backend
from refwfm.backends.cluster import pools_on
from refwfm.cli import cloud_runs, gaussian_runs, meta_runs, population_runs
from refwfm.cli._common import (
    Backend,
    Executor,
    console,
    explained,
    mean_and_spread,
    only_json,
    say,
    title_of,
)
from refwfm.cli._errors import clear_errors
from refwfm.cli._run_data import Run, load_run, own_data, start_of
from refwfm.datasets import CloudFamily, load
from refwfm.generation import RUNGE_KUTTA
from refwfm.runs import models
from refwfm.training.config import CloudConfig, MetaFMConfig

CLOUD = "Models of point clouds"

Solver = Annotated[
    str,
    typer.Option(
        "--solver",
        "--integrator",
        help="Method of a step: euler (one call of the network), midpoint, heun (two) or rk4 (four).",
    ),
]
Times = Annotated[
    str,
    typer.Option(help="Where steps are short: uniform (nowhere), early, late, or at both ends."),
]
Dtype = Annotated[str, typer.Option(help="Floating type of the run: float32 or float64.")]


def evaluate(
    run: Run,
    data: Annotated[
        str | None,
        typer.Option(help="Real family to compare with (default the run's own, or its held-out members)."),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of measures to generate for each seed (default 512, clouds 200), or of pairs (20).",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of generation or prediction (default 50, populations 20)."),
    ] = None,
    solver: Solver = "euler",
    times: Times = "uniform",
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, each with other sources.")] = 3,
    particles: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Particles of a population that are compared, at most (default 1000).",
            rich_help_panel="Models of populations",
        ),
    ] = None,
    guidance: Annotated[
        float, typer.Option(help="Weight of classifier-free guidance.", rich_help_panel=CLOUD)
    ] = 0.0,
    emd: Annotated[
        str,
        typer.Option(
            help="Cost of the EMD: euclidean (W1) or squared (W2²) distances.", rich_help_panel=CLOUD
        ),
    ] = "euclidean",
    backend: Backend = None,
    dtype: Dtype = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    executor: Executor = "loky",
) -> None:
    """Measure a model: min W2², 1-NN accuracies of clouds, iterations (Meta OT), distances (populations)."""
    with clear_errors():
        if emd not in ("euclidean", "squared"):
            raise ValueError(f"--emd must be euclidean or squared; got {emd!r}")
        place = load_backend(backend, dtype=dtype)
        model = load_run(run, place)
        asked = {
            "--steps": (steps, None),
            "--solver": (solver, "euler"),
            "--times": (times, "uniform"),
            "--guidance": (guidance, 0.0),
            "--emd": (emd, "euclidean"),
            "--particles": (particles, None),
            "--size": (size, None),
            "--seeds": (seeds, 3),
            "--executor": (executor, "loky"),
        }
        _check_effect(model, {name for name, (value, default) in asked.items() if value != default})
        if isinstance(model.config, MetaFMConfig):
            populations = own_data(run, model)[0] if data is None else population_runs.load_own(data)
            with pools_on(executor):
                population_runs.evaluate_run(
                    model,
                    populations,
                    particles=particles or population_runs.PARTICLES,
                    n_steps=steps or population_runs.STEPS,
                    as_json=as_json,
                )
            return
        steps = steps or 50
        if isinstance(model.config, meta_runs.CONFIGS):
            pairs, held = (meta_runs.load_measures(data), None) if data is not None else own_data(run, model)
            if data is None and isinstance(pairs, CloudFamily):
                pairs = cloud_runs.held_out(pairs, held)
            meta_runs.evaluate(model, pairs, place, size=size or meta_runs.SIZE, seeds=seeds, as_json=as_json)
            return
        clouds = isinstance(model.config, CloudConfig)
        size = size or (200 if clouds else 512)
        numbers: dict[str, list[Any]]
        family: Any
        if clouds:
            family = None if data is None else load(data)
            own, held = own_data(run, model) if family is None else _own_data_if_there(run, model)
            family = cloud_runs.held_out(own, held) if family is None else family
            _check_comparable(model, family)
            with pools_on(executor), only_json(as_json):
                numbers = cloud_runs.evaluate(
                    model,
                    own,
                    family,
                    place,
                    source=start_of(run, model),
                    size=size,
                    n_steps=steps,
                    seeds=seeds,
                    guidance=guidance,
                    squared=emd == "squared",
                    method=solver,
                    times=times,
                )
        else:
            own, held = (None, None) if data is not None else own_data(run, model)
            family = load(data) if data is not None else own if held is None else held
            _check_comparable(model, family)
            with only_json(as_json):
                numbers = gaussian_runs.evaluate(
                    *(model, family, place),
                    size=size,
                    n_steps=steps,
                    seeds=seeds,
                    training=own,
                    method=solver,
                    times=times,
                )
    if as_json:
        about = {"run": str(run), "data": family.name, "size": size, "steps": steps, "seeds": seeds}
        about |= {"solver": solver, "times": times, "calls": steps * len(RUNGE_KUTTA[solver][0])}
        about["compared_with"] = _compared_with(data, family, own)
        say(json.dumps({**about, **numbers}))
        return
    title = f"{title_of(model.config)} on {family.name}, step {model.state.step}"
    table = Table(title=title, show_header=False)
    for key, words in (cloud_runs if clouds else gaussian_runs).TITLES.items():
        if key in numbers:
            table.add_row(words, mean_and_spread(numbers[key]))
    console.print(table)
    note = f"; EMD: exact, of {emd} distances" if clouds else ""
    if data is None and held is not None:
        say(f"compared with the {len(held)} members that the run held out; it was trained on {len(own)}")
    if "copy_rate" in numbers:
        unseen = None if family is own else _compared_with(data, family, own)
        for line in explained(len(own), unseen):
            say(line)
    else:
        say("no copy rate: it needs the members trained on, and --data names others")
    how = f"{steps} steps" + (
        f" of {solver} at {times} times" if (solver, times) != ("euler", "uniform") else ""
    )
    say(f"mean ± spread over {seeds} draws of {size} sources, {how}{note}")


def _own_data_if_there(run: Path, model: models.Model[Any]) -> tuple[Any, Any]:
    """``own_data``, or nothing where it has gone or changed: what is compared with was named beside it."""
    try:
        return own_data(run, model)
    except (ValueError, OSError):
        typer.echo(
            "note: the members trained on have gone or changed; nothing is compared with them", err=True
        )
        return None, None


def _compared_with(data: str | None, family: Any, own: Any) -> str:
    """The members that generated ones are compared with, in words."""
    if family is own:
        return f"the {len(family)} training members (none held out)"
    return f"the {len(family)} " + ("held-out members" if data is None else f"members of {family.name}")


def _check_effect(model: models.Model[Any], asked: set[str]) -> None:
    """Raise ``ValueError`` for options that would change nothing for a model of this kind."""
    of_sources = {"--size", "--seeds"}
    kind, effective = "point clouds", {"--steps", "--solver", "--times", "--guidance", "--emd", *of_sources}
    effective |= {"--executor"}
    if isinstance(model.config, MetaFMConfig):
        kind, effective = "populations", {"--steps", "--particles", "--executor"}
    elif isinstance(model.config, meta_runs.CONFIGS):
        kind, effective = "Meta OT", of_sources
    elif not isinstance(model.config, CloudConfig):
        kind, effective = "Gaussians", {"--steps", "--solver", "--times", *of_sources}
    idle = sorted(asked - effective)
    if idle:
        raise ValueError(f"{' and '.join(idle)}: no effect on a model of {kind}; leave it out")


def _check_comparable(model: models.Model[Any], family: Any) -> None:
    if isinstance(family, CloudFamily) != isinstance(model.config, CloudConfig):
        kinds = ("Gaussians", "point clouds")
        made, given = kinds if isinstance(family, CloudFamily) else kinds[::-1]
        raise ValueError(f"the model generates {made}; data {family.name} is a family of {given}")
    d = model.setting.shift.shape[0]
    if family.dimension != d:
        raise ValueError(f"the model generates measures in {d}-D; data {family.name} is {family.dimension}-D")
