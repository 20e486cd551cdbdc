"""What ``train``, ``generate`` and ``evaluate`` do with models over point clouds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from refwfm import datasets
from refwfm.backends import Backend
from refwfm.cli._common import explained, named_conditions, progress, same_classes, say
from refwfm.clouds import unpad
from refwfm.datasets import CATALOGUE, CloudFamily, clouds_from_arrays
from refwfm.runs.evaluate_clouds import (
    Comparison,
    compare,
    conditions_of_subsample,
    copies,
    draw_source,
    generate_with,
    known,
    label_accuracies,
    members_of_subsample,
    reference_of,
    subsample,
)
from refwfm.runs.models import Model
from refwfm.training.config import CloudConfig

DRAWN = 25
"""Clouds of each kind in the picture of ``refwfm generate``."""

QUICK = 100
"""Clouds generated and compared after training; ``refwfm evaluate`` takes any number."""

TITLES = {
    "one_nn_chamfer": "1-NN accuracy, Chamfer (0.5 is best)",
    "one_nn_emd": "1-NN accuracy, EMD",
    "source_one_nn_chamfer": "  of the source, for comparison: Chamfer",
    "source_one_nn_emd": "  of the source, for comparison: EMD",
    "real_one_nn_chamfer": "  of real clouds of the training family: Chamfer",
    "real_one_nn_emd": "  of real clouds of the training family: EMD",
    "coverage": "coverage, Chamfer (1 is best)",
    "real_coverage": "  by real clouds of the training family",
    "mmd": "minimum matching distance, Chamfer (squared units)",
    "real_mmd": "  by real clouds of the training family",
    "copy_rate": "copy rate, sliced (1 for copies)",
    "real_copy_rate": "  of real clouds, for comparison",
    "label_accuracy": "label accuracy (nearest real clouds, Chamfer)",
    "real_label_accuracy": "  of the held-out real clouds",
}


def after_training(
    model: Model[CloudConfig],
    family: CloudFamily,
    backend: Backend,
    figure: Path,
    /,
    *,
    source: CloudFamily | None,
    held: CloudFamily | None = None,
) -> None:
    """Measure what was learned; draw generated beside real."""
    reference = held_out(family, held)
    size = min(QUICK, len(reference))
    say(f"measuring {size} generated clouds against {size} of the {len(reference)} of {reference.name}")
    asked = conditions_of_subsample(model, reference, size, seed=0)
    with progress("generating", size) as done:
        generated, _ = generate_with(
            model, size=size, n_steps=50, seed=0, source=source, ops=backend.ops, progress=done, **asked
        )
    real = subsample(reference, size, model.config, seed=0)
    try:
        from refwfm.paper_figures.cloud_pictures import draw_clouds_comparison
    except ModuleNotFoundError:
        say('no picture: it needs matplotlib (pip install "refwfm[figures]")')
    else:
        figure.parent.mkdir(exist_ok=True)
        draw_clouds_comparison(unpad(real)[:DRAWN], unpad(generated)[:DRAWN], figure)
        say(f"wrote {figure}")
    with progress("comparing", 2 * size) as done:
        result = compare(generated=generated, reference=real, progress=lambda rows, total: done(rows))
    say(
        f"1-NN accuracy against {size} clouds of {reference.name} (0.5 is best): "
        f"Chamfer {result.chamfer.accuracy:.3f}, EMD {result.emd.accuracy:.3f}"
    )
    if len(family) > 1:
        alone = reference is family
        own = members_of_subsample(family, size, seed=0) if alone else None
        rate = copies(generated, real, known(family, model.config), own=own)
        say(f"copy rate {rate.generated:.3f}, coverage {result.coverage:.3f}")
        for line in explained(len(family), None if alone else f"{size} held-out members"):
            say(line)


def held_out(family: CloudFamily, held: CloudFamily | None = None, /) -> CloudFamily:
    """The members that a run held out, else those held out of a family, or the family where none are."""
    if held is not None:
        return held
    entry = CATALOGUE.get(family.name)
    if entry is None or not entry.held_out:
        say(f"{family.name} has no held-out members: it is compared with itself (name others with --data)")
        return family
    found: Any = datasets.held_out(family.name)  # of the kind of the family itself
    return found


def draw_beside_real(
    path: Path, model: Model[CloudConfig], generated: CloudFamily, training: CloudFamily, held: Any, /
) -> None:
    """Draw generated beside real members, of the same classes, with what tells them apart."""
    from refwfm.paper_figures.cloud_pictures import draw_clouds_comparison

    reference = held_out(training, held)
    alone = reference is training
    reference = same_classes(reference, generated)
    size = min(QUICK, len(reference), len(generated))
    real = subsample(reference, size, model.config, seed=0)
    some = generated.batch(np.arange(size))
    found = compare(generated=some, reference=real)
    words = (
        f"1-NN accuracy {found.chamfer.accuracy:.2f} (Chamfer, 0.5 is best), coverage {found.coverage:.2f}"
    )
    if not alone:
        rate = copies(some, real, known(training, model.config))
        words += f", copy rate {rate.generated:.2f} (in truth {rate.held_out:.2f})"
    kind = "training" if alone else "held-out"
    title = f"{training.name}: {size} generated and {size} {kind} members\n{words}"
    draw_clouds_comparison(unpad(real)[:DRAWN], unpad(some)[:DRAWN], path, title=title)


def generate(
    model: Model[CloudConfig],
    backend: Backend,
    /,
    *,
    size: int,
    n_steps: int,
    seed: int,
    labels: np.ndarray | None,
    conditions: np.ndarray | None,
    source: CloudFamily | None,
    points: int | None = None,
    guidance: float = 0.0,
    method: str = "euler",
    times: str = "uniform",
    block: int = 0,
    done: Callable[[int], None] | None = None,
) -> CloudFamily:
    """Generate a family of clouds; ``done`` is called with how many there are."""
    generated, labels = generate_with(
        model,
        size=size,
        n_steps=n_steps,
        seed=seed,
        labels=labels,
        conditions=conditions,
        sizes=points,
        source=source,
        guidance_weight=guidance,
        method=method,
        times=times,
        block=block,
        ops=backend.ops,
        progress=done,
    )
    names = tuple(model.about["label_names"])
    family = clouds_from_arrays(unpad(generated), labels=labels, label_names=names, name="generated")
    about = (
        f"generated by a model of {model.about['data']} after {model.state.step} steps, seed {seed}, "
        f"{n_steps} steps of generation"
    )
    return CloudFamily(
        name=family.name,
        points=family.points,
        offsets=family.offsets,
        labels=family.labels,
        label_names=family.label_names,
        **named_conditions(model, conditions),
        about=about,
    )


def evaluate(
    model: Model[CloudConfig],
    family: CloudFamily | None,
    reference: CloudFamily,
    backend: Backend,
    /,
    *,
    source: CloudFamily | None,
    size: int,
    n_steps: int,
    seeds: int,
    guidance: float,
    squared: bool,
    method: str = "euler",
    times: str = "uniform",
) -> dict[str, list[Any]]:
    """Numbers of Tables 3 and 4, one for each seed, beside those of the source and of real clouds.

    Without the family of the training, only what needs none: no copies, and no real clouds beside real ones.
    """
    config = model.config
    size = min(size, len(reference), len(reference if family is None else family))
    alone, training_profiles = reference is family, None if family is None else known(family, config)
    numbers: dict[str, list[Any]] = {}

    def note(**values: float) -> None:
        for name, value in values.items():
            numbers.setdefault(name, []).append(float(value))

    # Of each seed: clouds that are generated, and three comparisons of two families.
    with progress("evaluating", 7 * size * seeds) as done:
        for seed in range(seeds):
            done(7 * size * seed)

            def compared(begin: int, seed: int = seed, **families: Any) -> Comparison:
                before = (7 * seed + begin) * size
                return compare(squared=squared, progress=lambda rows, total: done(before + rows), **families)

            real = subsample(reference, size, config, seed=seed)
            generated, labels = generate_with(
                model,
                **conditions_of_subsample(model, reference, size, seed=seed),
                size=size,
                n_steps=n_steps,
                seed=seed,
                source=source,
                guidance_weight=guidance,
                method=method,
                times=times,
                ops=backend.ops,
                progress=lambda members, seed=seed: done(7 * size * seed + members),
            )
            reals = reference_of(real, squared=squared)
            result = compared(1, generated=generated, reference=reals)
            note(one_nn_chamfer=result.chamfer.accuracy, one_nn_emd=result.emd.accuracy)
            note(coverage=result.coverage, mmd=result.mmd)
            if family is not None and training_profiles is not None and len(family) > 1:
                own = members_of_subsample(family, size, seed=seed) if alone else None
                rate = copies(generated, real, training_profiles, own=own)
                note(copy_rate=rate.generated, real_copy_rate=rate.held_out)
            start = draw_source(model, size=size, seed=seed, source=source)
            untrained = compared(3, generated=start, reference=reals)
            note(source_one_nn_chamfer=untrained.chamfer.accuracy, source_one_nn_emd=untrained.emd.accuracy)
            if family is not None and not alone:  # else they would be compared with themselves
                training = subsample(family, size, config, seed=seed)
                truth = compared(5, generated=training, reference=reals)
                note(real_one_nn_chamfer=truth.chamfer.accuracy, real_one_nn_emd=truth.emd.accuracy)
                note(real_coverage=truth.coverage, real_mmd=truth.mmd)
            known_labels = family is not None and family.labels is not None and reference.labels is not None
            if family is not None and labels is not None and known_labels:
                found = label_accuracies(generated, labels, family, reference, config, size=size, seed=seed)
                note(label_accuracy=found.generated, real_label_accuracy=found.held_out)
    return numbers
