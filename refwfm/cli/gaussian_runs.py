"""What ``train``, ``generate`` and ``evaluate`` do with models over Gaussians."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refwfm.backends import Backend
from refwfm.cli._common import explained, named_conditions, progress, same_classes, say
from refwfm.datasets import Family
from refwfm.metrics.nearest_gaussians import nearest
from refwfm.runs.evaluate_gaussians import Novelty, evaluate_source, generate_with, novelty
from refwfm.runs.evaluate_gaussians import evaluate as evaluate_model
from refwfm.runs.models import Model
from refwfm.training.config import GaussianConfig

SIZE = 512
"""Gaussians generated and measured after training; ``refwfm evaluate`` takes any number."""

STEPS = 50
"""Steps of generation after training."""

TITLES = {
    "min_w2_sq": "min W2² to the data",
    "bures_part": "  of it between covariances",
    "source_min_w2_sq": "min W2² of the source, for comparison",
    "real_min_w2_sq": "min W2² of the members that it was trained on",
    "training_min_w2_sq": "min W2² to the members trained on (copies have 0)",
    "coverage": "coverage of the members compared with (1 is best)",
    "real_coverage": "  by as many members that it was trained on",
    "copy_rate": "copy rate (1 for copies)",
    "real_copy_rate": "  of real members, for comparison",
    "label_accuracy": "label accuracy (nearest real Gaussian)",
    "repaired": "share that a step had to repair",
}


def after_training(
    model: Model[GaussianConfig],
    family: Family,
    backend: Backend,
    figure: Path,
    /,
    *,
    held: Family | None = None,
) -> None:
    """Measure what was learned; draw generated over real, where there is something to draw (with)."""
    training, family = family, family if held is None else held
    say(f"measuring {SIZE} generated Gaussians against the {len(family)} of {family.name}")
    with progress("generating", STEPS) as done:
        result = evaluate_model(
            model, family, backend, size=SIZE, n_steps=STEPS, observe=lambda step, mu: done(step)
        )
    if family.dimension < 2:
        say("no picture: it needs at least two coordinates")
    else:
        try:
            from refwfm.paper_figures.comparison import draw_comparison
        except ModuleNotFoundError:
            say('no picture: it needs matplotlib (pip install "refwfm[figures]")')
        else:
            figure.parent.mkdir(exist_ok=True)
            draw_comparison(family, {model.config.method: result.generated}, figure)
            say(f"wrote {figure}")
    what = "the data" if held is None else family.name
    say(f"min W2² to {what}: {result.sq_distance.mean():.4g} (mean of {len(result.sq_distance)})")
    if len(training) > 1:
        news = novelty(result.generated, training.gaussians, None if held is None else held.gaussians)
        say(f"copy rate {news.copies.generated:.3f}, coverage {news.coverage:.3f}")
        for line in explained(len(training), None if held is None else f"the {len(held)} held-out members"):
            say(line)


def draw_beside_real(
    path: Path, model: Model[GaussianConfig], generated: Family, training: Family, held: Family | None, /
) -> None:
    """Draw generated over real members, of the same classes, with what tells them apart."""
    from refwfm.paper_figures.comparison import draw_comparison

    real = same_classes(training if held is None else held, generated)
    found = nearest(generated.gaussians, real.gaussians, validate=False).sq_distance
    words = f"{len(generated)} generated ({model.config.method}): min W2² {found.mean():.3g}"
    if len(training) > 1:
        news = novelty(generated.gaussians, training.gaussians, None if held is None else held.gaussians)
        words += f"\ncopy rate {news.copies.generated:.2f} (in truth {news.copies.held_out:.2f})"
    title = f"{training.name}, {len(real)} {'training' if held is None else 'held-out'} members"
    draw_comparison(real, {words: generated.gaussians}, path, title=title)


def generate(
    model: Model[GaussianConfig],
    backend: Backend,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    labels: np.ndarray | None,
    conditions: np.ndarray | None,
    method: str = "euler",
    times: str = "uniform",
    block: int = 0,
    done: Callable[[int], None] = lambda members: None,
) -> Family:
    """Generate a family of Gaussians; ``done`` is called with how many there are, all moving at once."""
    generated, labels, _ = generate_with(
        *(model, backend),
        size=size,
        n_steps=n_steps,
        seed=seed,
        labels=labels,
        conditions=conditions,
        method=method,
        times=times,
        block=block,
        observe=lambda step, mu: done(size * step // n_steps),
    )
    return Family(
        name="generated",
        gaussians=generated,
        labels=labels,
        label_names=tuple(model.about["label_names"]),
        **named_conditions(model, conditions),
        about=f"generated by a {model.config.method} model of {model.about['data']} "
        f"after {model.state.step} steps, seed {seed}, {n_steps} steps of generation",
    )


def evaluate(
    model: Model[GaussianConfig],
    family: Family,
    backend: Backend,
    /,
    *,
    size: int,
    n_steps: int,
    seeds: int,
    training: Family | None = None,
    method: str = "euler",
    times: str = "uniform",
) -> dict[str, list[Any]]:
    """Numbers of Table 2, one for each seed, and how new the generated ones are, beside real members."""
    how: dict[str, Any] = {"n_steps": n_steps, "method": method, "times": times}
    with progress("evaluating", seeds * n_steps) as done:
        results = [
            evaluate_model(
                *(model, family, backend),
                size=size,
                seed=seed,
                **how,
                observe=partial(lambda before, step, mu: done(before + step), seed * n_steps),
            )
            for seed in range(seeds)
        ]
    source = [evaluate_source(model, family, backend, size=size, seed=seed).mean() for seed in range(seeds)]
    numbers: dict[str, list[Any]] = {
        "min_w2_sq": [float(r.sq_distance.mean()) for r in results],
        "bures_part": [float(r.bures_part.mean()) for r in results],
        "source_min_w2_sq": [float(value) for value in source],
        "repaired": [r.repaired for r in results],
    }
    if training is not None and training is not family:
        to_them = nearest(training.gaussians, family.gaussians, validate=False).sq_distance
        numbers["real_min_w2_sq"] = [float(to_them.mean())]
    if training is not None and len(training) > 1:
        held_out = None if training is family else family.gaussians
        numbers |= _columns(
            [novelty(r.generated, training.gaussians, held_out, seed=k) for k, r in enumerate(results)]
        )
    if results[0].accuracy is not None:
        numbers["label_accuracy"] = [r.accuracy for r in results]
    return numbers


def _columns(found: list[Novelty]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "training_min_w2_sq": [each.to_training for each in found],
        "coverage": [each.coverage for each in found],
        "copy_rate": [float(each.copies.generated) for each in found],
        "real_copy_rate": [float(each.copies.held_out) for each in found],
    }
    if found[0].real_coverage is not None:
        columns["real_coverage"] = [each.real_coverage for each in found]
    return columns
