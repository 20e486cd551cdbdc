"""The models that ship: each is trained, measured and packed here, and ``refwfm.runs.shipped`` finds it.

``python -m refwfm.validation.shipped_models`` trains all, each by ``refwfm train --preset laptop`` in a
folder under ``--runs``; ``--resume`` continues what was begun and keeps what is finished. What ships of a run
is its configuration, the parameters that generation uses, and a card: what it was trained on, by which
command, what that took, the numbers of ``refwfm evaluate``, the audit of the formulas it uses, and the
file's SHA-256.
"""

import argparse
import inspect
import json
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refwfm import backends
from refwfm.cli._run_data import own_data
from refwfm.datasets import CATALOGUE
from refwfm.runs import evaluate_clouds, evaluate_gaussians, folders, models, shipped
from refwfm.runs.config_file import read_config
from refwfm.runs.recorder import checkpoint
from refwfm.storage import cards
from refwfm.training.algorithm import only_trained
from refwfm.training.config import CloudConfig
from refwfm.training.optim import tree_leaves
from refwfm.training.presets import with_preset
from refwfm.validation import audit, ledger

HOLD_OUT = ("--hold-out", "0.1")
"""For families that hold nothing out themselves, so that the scores are of members not seen."""

OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("niches", "niches-16"), (*HOLD_OUT, "--steps", "2000")),
    **dict.fromkeys(
        ("cities", "two-moons", "tutorial-spiral", "spiral-128", "sphere"), (*HOLD_OUT, "--steps", "2500")
    ),
    "circles": ("--batch", "16", "--steps", "1200"),
    **dict.fromkeys(("niches-clouds", "fours"), ("--steps", "1200")),
}
"""For each family, options beside ``--preset laptop``: some 18 minutes of one core in all."""

SEEDS = 2
"""Seeds of the evaluation."""


def without_model() -> list[str]:
    """Families that ship, to be trained on, for which no model ships."""
    held_out = {entry.held_out for entry in CATALOGUE.values()}
    ships = [name for name, entry in CATALOGUE.items() if entry.shipped and name not in held_out]
    return sorted(set(ships) - set(shipped.names()))


def command(name: str, /, *, steps: int | None) -> list[str]:
    """Arguments of ``refwfm`` that train the model of a family, without those of the folder."""
    short = [] if steps is None else ["--steps", str(steps)]  # the last one counts
    return ["train", "--preset", "laptop", "--data", name, *OPTIONS[name], *short]


def train(name: str, run: Path, /, *, steps: int | None, resume: bool) -> None:
    """Train in a run's folder, or go on; a file beside it adds up the processor's time."""
    begun = resume and (run / "config.toml").exists()
    if run.exists() and not begun:
        shutil.rmtree(run)
    known, took = run.with_suffix(".json"), 0.0
    if begun:
        if models.step_of(models.newest_checkpoint(run)) == read_config(run / "config.toml")[1]["steps"]:
            return
        took = json.loads(known.read_text())
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    try:
        _refwfm(*command(name, steps=steps), "--out", run, *(["--resume"] if begun else []), "--quiet")
    finally:
        known.write_text(json.dumps(took + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before))


def check_options(
    name: str, run: Path, model: models.Model[Any], family: Any, /, *, steps: int | None
) -> None:
    """Raise ``ValueError`` if a run that was begun before was trained with other options than are asked."""
    words = command(name, steps=steps)[1:]
    preset = with_preset("laptop", type(model.config), {}, family=family)
    asked = {f"--{option.replace('_', '-')}": str(value) for option, value in preset.items()}
    asked |= dict(zip(words[::2], words[1::2], strict=True))
    known = {
        "preset": asked["--preset"],
        **read_config(run / "config.toml")[0],
        **asdict(model.config),
    }
    for option, value in asked.items():
        found = known[option.removeprefix("--").replace("-", "_")]
        if value != str(found):
            raise ValueError(f"{run} was trained with {option} {found}, not {value}: leave --resume out")


def pack(name: str, run: Path, folder: Path, /, *, steps: int | None) -> None:
    """Write what ships of a finished run."""
    backend = backends.load("numpy")
    model = models.load_model(run, backend)
    if model.state.step < model.config.steps:
        raise ValueError(f"{run} has done {model.state.step} of {model.config.steps} steps")
    training, held = own_data(run, model)
    check_options(name, run, model, training, steps=steps)
    numbers = json.loads(_refwfm("evaluate", run, "--seeds", SEEDS, "--json").splitlines()[-1])
    scores = {
        key: float(f"{np.mean(value):.4g}") for key, value in numbers.items() if isinstance(value, list)
    }
    if folder.exists():
        shutil.rmtree(folder)
    file = checkpoint(folder, model.state.step)
    file.parent.mkdir(parents=True)
    models.save_model(file, model._replace(state=only_trained(model.state)), backend)
    shutil.copy(run / "config.toml", folder)
    held_out = len(held) if held is not None else CATALOGUE[CATALOGUE[name].held_out].size
    card = {
        "data": name,
        "trained_on": len(training),
        "held_out": held_out,
        "data_sha256": model.about["fingerprint"],
        "command": shlex.join(["refwfm", *command(name, steps=steps)]),
        "method": getattr(model.config, "method", "clouds"),
        "steps": model.state.step,
        "parameters": sum(leaf.size for leaf in tree_leaves(model.state.params)),
        "cpu_seconds": round(json.loads(run.with_suffix(".json").read_text())),
        "machine": machine(),
        "scores": scores,
        "scores_of": f"{numbers['size']} generated, {SEEDS} seeds; compared with {numbers['compared_with']}",
        "audit": audited(model, training)._asdict(),
        "bytes": file.stat().st_size,
        "sha256": cards.digest(file),
    }
    cards.save(folder, card)


class Audited(NamedTuple):
    """How the audit of the formulas that a model uses ended."""

    formulas: list[str]
    checks: int
    wrong_variants: int
    failed: int


def audited(model: models.Model[Any], family: Any, /) -> Audited:
    """Formulas that two steps of training and of generation call, and how ``refwfm verify`` of them ends."""
    used = _called(model, family)
    known = ledger.by_id(backends.load("numpy"))
    codes = {
        id: {getattr(inspect.unwrap(function), "__code__", None) for function in item.functions}
        for id, item in known.items()
    }
    ids = [id for id in known if codes[id] & used]
    counts = [_audited(id) for id in ids]
    return Audited(ids, *(sum(each[part] for each in counts) for part in range(3)))


@cache
def _audited(id: str) -> tuple[int, int, int]:
    """Checks of a formula in both dtypes, wrong variants, and checks that failed."""
    parts = audit.prepare("numpy", "all", [id])
    audit.perform(parts, jobs=1)
    count = audit.count(parts)
    return count.checks, count.controls, count.failed


def _called(model: models.Model[Any], family: Any) -> set[Any]:
    """Code of all functions that two steps of training and of generation call, with twins and without."""
    found: set[Any] = set()
    config = replace(model.config, steps=2, warmup=0)
    how: dict[str, Any] = {"size": 4, "n_steps": 2, "seed": 0}
    for reference in (False, True):
        backend = backends.load("numpy", reference=reference)
        with tempfile.TemporaryDirectory() as place:
            sys.setprofile(
                lambda frame, event, argument: found.add(frame.f_code) if event == "call" else None
            )
            try:
                short = folders.train(config, family, backend, Path(place) / "run", run={})
                if isinstance(config, CloudConfig):
                    evaluate_clouds.generate_with(short, ops=backend.ops, **how)
                else:
                    evaluate_gaussians.generate_with(short, backend, **how)
            finally:
                sys.setprofile(None)
    return found


def machine() -> str:
    """Processor and versions, in words."""
    found = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    processor = found[0].partition(":")[2].strip() if found else platform.processor() or platform.machine()
    return f"one thread, {processor}, Python {platform.python_version()}, NumPy {np.__version__}"


def _lines(file: str) -> list[str]:
    path = Path(file)
    return path.read_text().splitlines() if path.exists() else []


def page() -> str:
    """``docs/models.md``, from the cards."""
    known = {name: shipped.card(name) for name in shipped.names()}
    gaussians = [name for name in known if CATALOGUE[name].kind == "Gaussians"]
    clouds = [name for name in known if name not in gaussians]
    lines = [
        "# Models that ship",
        "",
        "A small trained model ships for most families that ship; the family's name stands for its folder:",
        "",
        "```sh",
        "refwfm generate niches --size 200 --out new.npz --figure new.png",
        "refwfm evaluate niches",
        "refwfm info niches                      # its card: data, command, scores, audit, SHA-256",
        "```",
        "",
        "They are for a first look, a lesson and a test, not for research: each is what `--preset laptop`",
        "makes of the family in the steps below. A run in a folder of that name goes before it, and a note",
        "says so; `./niches` is always the folder. In Python, after `from refwfm.runs import shipped`:",
        "`WassersteinFlow.load(shipped.folder('niches'))`. A file holds parameters alone, so",
        "that `--resume` has nothing to go on from. This page and all models are made by",
        "`python -m refwfm.validation.shipped_models`.",
        "",
    ]
    lines += ["## Gaussians", "", *_table(known, gaussians, _OF_GAUSSIANS), ""]
    lines += [
        "*Held-out W2²*: mean of the least W2² of a generated Gaussian to the members that were held out;",
        "*real*: of the members trained on to those. *Copy rate*: 0.1 in truth, 1 for copies; on spirals and",
        "the sphere, whose members are spaced evenly, 1 for the truth, too: what lies between two members is",
        "nearer to one than a member that was held out.",
        "",
    ]
    lines += ["## Clouds", "", *_table(known, clouds, _OF_CLOUDS), ""]
    lines += [
        "*1-NN*: accuracy against held-out clouds, Chamfer and EMD; 0.5 is best. *Real*: of real clouds.",
        "",
    ]
    lines += ["## Files", "", "| model | bytes | SHA-256 of the file | formulas used, checks, failed |"]
    lines += ["|---|---|---|---|"]
    for name, card in known.items():
        done = card["audit"]
        lines.append(
            f"| {name} | {card['bytes']:,} | `{card['sha256']}` | {len(done['formulas'])}, {done['checks']}, "
            f"{done['failed']} |"
        )
    lines += ["", *(f"`{card['command']}`\\" for card in known.values())]
    lines[-1] = lines[-1].removesuffix("\\")
    lines += [
        "",
        f"No model ships for {'; '.join(f'{name}: {why}' for name, why in shipped.WITHOUT.items())}.",
    ]
    return "\n".join([*lines, ""])


_COMMON = {
    "model": lambda name, card: name,
    "trained on": lambda name, card: f"{card['trained_on']:,}",
    "parameters": lambda name, card: f"{card['parameters']:,}",
    "steps": lambda name, card: f"{card['steps']:,}",
    "CPU s": lambda name, card: f"{card['cpu_seconds']:,}",
}
_OF_GAUSSIANS = _COMMON | {
    "held-out W2²": lambda name, card: f"{card['scores']['min_w2_sq']:.3g}",
    "real": lambda name, card: f"{card['scores']['real_min_w2_sq']:.3g}",
    "source": lambda name, card: f"{card['scores']['source_min_w2_sq']:.3g}",
    "copy rate": lambda name, card: f"{card['scores']['copy_rate']:.2f}",
}
_OF_CLOUDS = _COMMON | {
    "1-NN": lambda name, card: "{one_nn_chamfer:.2f} / {one_nn_emd:.2f}".format(**card["scores"]),
    "real": lambda name, card: "{real_one_nn_chamfer:.2f} / {real_one_nn_emd:.2f}".format(**card["scores"]),
    "source": lambda name, card: "{source_one_nn_chamfer:.2f} / {source_one_nn_emd:.2f}".format(
        **card["scores"]
    ),
    "copy rate": lambda name, card: f"{card['scores']['copy_rate']:.2f}",
}
"""Columns of the page, of a model's name and card."""


def _table(known: dict[str, Any], names: Iterable[str], columns: dict[str, Any]) -> list[str]:
    rows = [" | ".join(cell(name, known[name]) for cell in columns.values()) for name in names]
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *(f"| {row} |" for row in rows)]


def _refwfm(*arguments: Any) -> str:
    """Output of the command, run with one thread; what it says of errors goes to the terminal."""
    words = [sys.executable, "-m", "refwfm", *map(str, arguments)]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(arguments: list[str] | None = None, /) -> int:
    """Train, measure and pack the models that are asked for, one after the other; write the page."""
    parser = argparse.ArgumentParser(prog="python -m refwfm.validation.shipped_models", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*OPTIONS, []], help="families (all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/shipped"), help="where to train them")
    parser.add_argument("--out", type=Path, default=shipped.FOLDER, help="where to put what ships")
    parser.add_argument("--steps", type=int, help="other than the preset's, for a trial")
    parser.add_argument("--resume", action="store_true", help="go on with runs that were begun")
    given = parser.parse_args(arguments)
    given.runs.mkdir(parents=True, exist_ok=True)
    for name in given.names or OPTIONS:
        train(name, given.runs / name, steps=given.steps, resume=given.resume)
        pack(name, given.runs / name, given.out / name, steps=given.steps)
        sys.stdout.write(f"{name}: {given.out / name}\n")
        sys.stdout.flush()
    docs = Path(__file__).parents[1] / "docs"
    if given.out == shipped.FOLDER and docs.is_dir():
        (docs / "models.md").write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
