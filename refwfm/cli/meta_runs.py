"""What ``train`` and ``evaluate`` do with models of Meta OT: iterations saved, as a table and a picture."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.progress import Progress
from rich.table import Table

from refwfm.backends import Backend
from refwfm.cli import cloud_runs
from refwfm.cli._common import console, say
from refwfm.datasets import CATALOGUE, PAIRS, CloudFamily, Family, PairFamily, load, load_pairs
from refwfm.datasets._anndata import is_anndata
from refwfm.datasets._files import read_npz
from refwfm.datasets._folders import is_folder_of_arrays
from refwfm.datasets._tables import is_table
from refwfm.runs.evaluate_meta import STARTS, THRESHOLDS, Saved, compare_starts
from refwfm.runs.models import Model
from refwfm.training.config import MetaCloudsConfig, MetaOTConfig

SIZE = 20
"""Pairs that a model is measured on."""

QUICK = 2000
"""Most iterations after training; ``refwfm evaluate`` makes ten times as many where they are needed."""

NOTE = (
    "iterations until the marginal error is below a threshold, looked at after each one: mean ± standard "
    "deviation over pairs; ≥: some never were, and count as one more than was done"
)


WHAT = (
    f"pairs of histograms ({', '.join(PAIRS)}, or an .npz file of one's own) or a family of clouds "
    "(refwfm data list)"
)
"""What Meta OT is learned from."""

CONFIGS = (MetaOTConfig, MetaCloudsConfig)
"""Configurations of runs of Meta OT."""


def load_measures(name: str, /) -> PairFamily | CloudFamily:
    """Pairs of histograms, or clouds to draw pairs from, by name or from a file of either kind."""
    is_clouds = (name in CATALOGUE and name not in PAIRS) or is_folder_of_arrays(name)
    if name.lower().endswith(".npz"):
        is_clouds = "format" in read_npz(Path(name))
    path = Path(name)
    if is_anndata(path) or is_table(path) or (path.is_dir() and not is_clouds and name not in PAIRS):
        raise ValueError(
            f"{name} is no family yet: refwfm data clouds {shlex.quote(name)} makes one of it, in a file "
            "ending in .npz, for --data"
        )
    if not is_clouds:
        return load_pairs(name)
    family = load(name)
    if isinstance(family, Family):
        raise ValueError(
            f"{name} is a family of Gaussians, whose transport has closed form; Meta OT takes {WHAT}"
        )
    return family


def after_training(
    model: Model[Any], family: Any, backend: Backend, figure: Path, /, *, held: CloudFamily | None = None
) -> None:
    """Measure what was learned on held-out pairs, of a family of pairs or of clouds; draw the errors."""
    family = cloud_runs.held_out(family, held) if isinstance(family, CloudFamily) else family
    say(f"measuring at most {SIZE} held-out pairs of {family.name}, at most {QUICK} iterations each")
    found = compare_starts(model, family, backend, size=SIZE, max_iter=QUICK)
    try:
        from refwfm.paper_figures.meta.pictures import draw_curves
    except ModuleNotFoundError:
        say('no picture: it needs matplotlib (pip install "refwfm[figures]")')
    else:
        figure.parent.mkdir(exist_ok=True)
        draw_curves({family.name: {name: each.errors for name, each in found.starts.items()}}, figure)
        say(f"wrote {figure}")
    console.print(table(f"{number_of_pairs(found.starts)} held-out pairs of {family.name}", found.starts))
    say(NOTE)
    for line in unused(found.starts):
        say(line)


def evaluate(
    model: Model[Any],
    family: PairFamily | CloudFamily,
    backend: Backend,
    /,
    *,
    size: int,
    seeds: int,
    as_json: bool = False,
) -> None:
    """Print how many iterations the starts need, on all pairs of some seeds together."""
    if isinstance(family, CloudFamily) != isinstance(model.config, MetaCloudsConfig):
        kinds = ("pairs of histograms", "clouds")
        made, given = kinds if isinstance(family, CloudFamily) else kinds[::-1]
        raise ValueError(f"the model is one of {made}; data {family.name} are {given}")
    results = []
    # Draws with several seeds would repeat pairs of which there are only so many.
    finite = isinstance(family, CloudFamily) or family.held_out is not None
    draws = [(0, size * seeds)] if finite else [(seed, size) for seed in range(seeds)]
    with Progress(console=console, disable=not console.is_terminal or as_json) as bar:
        task = bar.add_task("evaluating", total=len(STARTS) * len(draws))
        for seed, count in draws:
            results.append(
                compare_starts(
                    *(model, family, backend),
                    size=count,
                    seed=seed,
                    max_iter=10 * QUICK,
                    progress=lambda: bar.advance(task),
                )
            )
    starts = {name: together([each.starts[name] for each in results]) for name in results[0].starts}
    ms = float(np.mean([each.predict_ms for each in results]))
    if as_json:
        numbers = {name: as_numbers(each) for name, each in starts.items()}
        about = {"data": family.name, "step": model.state.step, "size": size, "seeds": seeds}
        about["pairs"] = number_of_pairs(starts)
        say(json.dumps({**about, "starts": numbers, "predict_ms": ms}))
        return
    console.print(table(f"meta-ot on {family.name}, step {model.state.step}", starts))
    say(f"{number_of_pairs(starts)} held-out pairs; {NOTE}")
    say(f"predicting takes {ms:.2g} ms for each pair")
    for line in unused(starts):
        say(line)


def number_of_pairs(starts: dict[str, Saved], /) -> int:
    """How many pairs were solved from each start: fewer than were asked for where there are no more."""
    return int(starts["zeros"].errors.shape[1])


def table(title: str, starts: dict[str, Saved], /) -> Table:
    """A row for each start, a column for each threshold, and how many times fewer iterations than zeros."""
    made = Table(title=title, box=box.SIMPLE, pad_edge=False)
    made.add_column("start", no_wrap=True)
    made.add_column("error", justify="right")
    for threshold in THRESHOLDS:
        made.add_column(f"to {threshold:g}", justify="right", no_wrap=True)
        made.add_column("ratio", justify="right")
    for name, each in starts.items():
        cells = [f"{np.mean(each.errors[0]):.2g}"]
        for threshold in THRESHOLDS:
            cells += [in_words(each, threshold), f"{ratio(starts, name, threshold):.2f}"]
        made.add_row(STARTS[name], *cells)
    return made


def counted(each: Saved, threshold: float, /) -> tuple[np.ndarray, bool]:
    """Iterations of each pair, one more than was done where these were not enough; and whether all were."""
    found = each.iterations[threshold]
    return np.where(found < 0, each.max_iter + 1, found), bool(np.all(found >= 0))


def in_words(each: Saved, threshold: float, /) -> str:
    """``mean ± standard deviation`` of the iterations."""
    found, reached = counted(each, threshold)
    spread = f" ± {np.std(found, ddof=1):.1f}" if len(found) > 1 else ""
    return f"{'' if reached else '≥ '}{np.mean(found):.1f}{spread}"


def ratio(starts: dict[str, Saved], name: str, threshold: float, /) -> float:
    """Iterations from zeros, relative to those from a start."""
    zeros, each = (counted(starts[key], threshold)[0] for key in ("zeros", name))
    return float(np.mean(zeros) / np.mean(each))


def together(parts: list[Saved], /) -> Saved:
    """Pairs of several draws as one; errors as long as those of the shortest, iterations as counted."""
    length = min(len(each.errors) for each in parts)
    return Saved(
        np.concatenate([each.errors[:length] for each in parts], axis=1),
        {th: np.concatenate([each.iterations[th] for each in parts]) for th in THRESHOLDS},
        float(np.mean([each.used for each in parts])),
        parts[0].max_iter,
    )


def as_numbers(each: Saved, /) -> dict[str, Any]:
    """Iterations of each pair, for JSON."""
    iterations = {f"{threshold:g}": values.tolist() for threshold, values in each.iterations.items()}
    return {"iterations": iterations, "start_used": each.used}


def unused(starts: dict[str, Saved], /) -> list[str]:
    """A line for each start that was worth less than zeros for some pairs."""
    return [
        f"{STARTS[name]}: not used for {100 * (1 - each.used):.0f} % of the pairs, where it is worth less "
        "than zeros; they started from zeros"
        for name, each in starts.items()
        if each.used < 1
    ]
