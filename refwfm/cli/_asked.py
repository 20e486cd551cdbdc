"""What a training was asked for: tables of options, of a command line and files, and their configuration."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from refwfm.cli import meta_runs, population_runs, rectified_runs
from refwfm.cli._common import named_path, say
from refwfm.cli.population_data import are_populations
from refwfm.couplings.inner import ENTROPIC
from refwfm.datasets import (
    CATALOGUE,
    PAIRS,
    CloudFamily,
    Family,
    PairFamily,
    PopulationFamily,
    holds_gaussians,
    is_folder_of_arrays,
    load,
)
from refwfm.datasets.own_pairs import is_pair_file
from refwfm.runs import folders, shipped
from refwfm.runs.config_file import TABLES, RunOptions, check_run_options, read_config
from refwfm.runs.folders import RunError
from refwfm.training.base_config import TrainingConfig
from refwfm.training.config import CloudConfig, GaussianConfig, MetaCloudsConfig, MetaFMConfig, MetaOTConfig
from refwfm.training.noise import FAMILY, SOURCES
from refwfm.training.presets import with_preset
from refwfm.training.semidiscrete import SEMIDISCRETE, PlanOptions

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


def collected(
    config: Path | None, out: Path | None, given: dict[str, Any], *, resume: bool
) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Tables [run] and [train]: what was given, else a file's, else the defaults; and the run's folder."""
    run, options = ({}, {}) if config is None else read_config(config)
    _check_named({**run, **given}, resume=resume)
    folder = out or _default_folder({**run, **given}, {**options, **given})
    if config is None and resume:
        if not (folder / "config.toml").exists():
            if str(folder) in shipped.names():
                raise RunError(folders.NOT_RESUMED.format(shipped.folder(str(folder))))
            raise ValueError(f"nothing to resume in {folder}: it holds no run (--out names the run's folder)")
        run, options = read_config(folder / "config.toml")
        _check_named({**run, **given})
    defaults = {name: each.default for name, each in TABLES["run"].items() if each.default is not None}
    defaults.pop("data")
    run = {**defaults, **run, **{name: value for name, value in given.items() if name in TABLES["run"]}}
    run.pop("out", None)
    check_run_options(run)
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


def loaded(kind: str, name: str) -> Any:
    """Data of what is learned."""
    if kind == "meta-fm":
        return population_runs.load_own(name)
    return meta_runs.load_measures(name) if kind == "meta-ot" else load(name)


def source_of(
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


def configuration(learned: str, family: Any, options: dict[str, Any], preset: str) -> TrainingConfig:
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


def baseline(family: Any, options: dict[str, Any]) -> dict[str, Any]:
    """No baseline for pairs that have only a cost, unless one is asked for; say so."""
    if not isinstance(family, PairFamily) or family.axes is not None or family.points is not None:
        return {}
    if "baseline" in options:
        return {}
    say(f"baseline none: {family.name} has a cost and no points, which the Gaussian potential would need")
    return {"baseline": "none"}


def check_effect(config: TrainingConfig, given: dict[str, Any]) -> None:
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
