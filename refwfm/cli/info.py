"""``refwfm info``, of the installation or of a model that ships, and ``refwfm bench``."""

import json
import platform
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

import refwfm
from refwfm.backends import available
from refwfm.backends.machine import SHOWN, installed
from refwfm.cli._common import console, say
from refwfm.cli._errors import clear_errors

BENCHES = {
    "bures": "pairwise Bures distances against POT",
    "train-bw": "a training step of the default networks against plain torch",
    "step-parts": "the parts of that step, product by product, NumPy against torch",
    "sinkhorn": "Sinkhorn to a marginal error against OTT-JAX and POT",
    "streaming": "Sinkhorn without stored costs against dense solvers, OTT-JAX and GeomLoss: time, memory",
    "rounding": "rounding a plan against the sequential rule",
    "train-clouds": "a training step of the transformer against plain torch",
    "one-nn": "exact 1-NN in EMD and Chamfer against loops over SciPy",
    "sliced": "sliced transport against loops over POT",
    "meta-ot": "Sinkhorn from predicted starts against OTT-JAX and POT; the start of inner plans",
    "couplings": "couplings of a training step against exact Wasserstein on Wasserstein",
    "processes": "a training step of two processes against one",
    "report-page": "the load of the audit's report in Chromium against an empty page",
    "import-time": "the import of the package against torch's, or SciPy's",
}


ON_DEVICES = ("sinkhorn", "train-bw", "train-clouds")
"""Those that can be measured on a device by name."""


def info(
    model: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Family for which a model ships: show its card."),
    ] = None,
) -> None:
    """Show versions, backends and devices, or the card of a model that ships."""
    if model is not None:
        with clear_errors():
            _show_card(model)
        return
    table = Table(title=f"refwfm {refwfm.__version__}", show_header=False)
    table.add_row("refwfm", f"{refwfm.__version__} in {Path(refwfm.__file__).parent}")
    table.add_row("python", f"{platform.python_version()} on {platform.platform()}")
    packages = installed()
    for name in SHOWN:
        table.add_row(name, packages.get(name, "not installed"))
    table.add_section()
    for name, state in available().items():
        table.add_row(f"backend {name}", escape(state))  # "refwfm[torch]" is not markup
    console.print(table)


def _show_card(name: str) -> None:
    from refwfm.cli import cloud_runs, gaussian_runs
    from refwfm.runs import models, shipped
    from refwfm.storage import cards

    card, folder = shipped.card(name), shipped.folder(name)
    cards.check(models.newest_checkpoint(folder))
    table = Table(title=f"{name}: a model that ships ({card['method']})", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("trained on", f"{card['trained_on']} members of {name}; {card['held_out']} held out")
    table.add_row("by", card["command"])
    parameters, steps, seconds = card["parameters"], card["steps"], card["cpu_seconds"]
    table.add_row("size", f"{parameters:,} parameters, {steps:,} steps, {seconds} s of processor time")
    table.add_row("on", card["machine"])
    table.add_section()
    for key, words in {**gaussian_runs.TITLES, **cloud_runs.TITLES}.items():
        if key in card["scores"]:
            table.add_row(words, f"{card['scores'][key]:.3g}")
    table.add_row("of", card["scores_of"])
    table.add_section()
    audit = card["audit"]
    table.add_row(
        "audit", f"{len(audit['formulas'])} formulas used, {audit['checks']} checks: {audit['failed']} failed"
    )
    table.add_row("data, SHA-256", card["data_sha256"])
    table.add_row("file, SHA-256", f"{card['sha256']} (verified)")
    table.add_row("folder", str(folder))
    console.print(table)


def bench(
    name: Annotated[str, typer.Argument(help=f"Name of the benchmark: one of {', '.join(BENCHES)}.")],
    repeats: Annotated[
        int, typer.Option(min=1, help="Number of timed runs of each side, taken in turns.")
    ] = 5,
    sizes: Annotated[
        str,
        typer.Option(help="Sizes of the training steps: those of the papers, or of a laptop's networks."),
    ] = "paper",
    backend: Annotated[
        str | None,
        typer.Option(
            help="Backend to measure, such as torch:cuda, of sinkhorn, train-bw and train-clouds "
            "(default those of the CPU)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
) -> None:
    """Measure the speed beside that of a peer library: medians of runs taken in turns."""
    with clear_errors():
        if name not in BENCHES:
            raise ValueError(f"unknown benchmark {name!r}; choose one of {', '.join(BENCHES)}")
        if sizes not in ("paper", "laptop"):
            raise ValueError(f"unknown sizes {sizes!r}; choose paper or laptop")
        if sizes == "laptop" and name not in ("train-bw", "train-clouds"):
            raise ValueError(f"benchmark {name!r} has no sizes; train-bw and train-clouds have")
        if backend is not None and name not in ON_DEVICES:
            raise ValueError(f"benchmark {name!r} takes no --backend; {', '.join(ON_DEVICES)} do")
        from refwfm.validation.bench.measure import table, to_json

        try:
            module = import_module(f"refwfm.validation.bench.{name.replace('-', '_')}")
        except ModuleNotFoundError as error:
            hint = 'pip install "refwfm[bench]"'
            raise ModuleNotFoundError(f"the benchmark needs {error.name}: {hint}") from error
        measure = module.rows if sizes == "paper" else module.laptop_rows
        rows = measure(repeats) if backend is None else measure(repeats, backend)
        if as_json:
            say(json.dumps(to_json(name, rows)))
        else:
            console.print(table(name, rows))
