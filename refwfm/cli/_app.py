"""All commands. Each is imported when it is called: help and completion cost no more than Typer."""

from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

import refwfm


class _Entry(NamedTuple):
    where: str
    """Module of ``refwfm.cli``, and what there is the command."""
    help: str
    """The first paragraph of its docstring (a test compares them)."""
    example: str = ""


COMMANDS = {
    "demo": _Entry(
        "figures.demo", "Train on the shipped data and draw the result.", "refwfm demo clouds --out demo"
    ),
    "train": _Entry(
        "train.train",
        "Train a model over Gaussians, clouds, pairs or populations; its folder holds all that the run is.",
        "refwfm train --data niches --steps 3000 --width 256 --depth 3 --out runs/niches",
    ),
    "generate": _Entry(
        "generate.generate",
        "Generate new Gaussians or clouds from a trained model and save them as a family.",
        "refwfm generate niches --size 200 --out new.npz --figure new.png",
    ),
    "evaluate": _Entry(
        "runs.evaluate",
        "Measure a model: min W2², 1-NN accuracies of clouds, iterations (Meta OT), distances (populations).",
        "refwfm evaluate niches",
    ),
    "predict": _Entry(
        "predict.predict",
        "Predict where populations go: each is embedded, and its particles are moved by what that tells.",
        "refwfm predict runs/screen --data synthetic-screen --out predicted.npz",
    ),
    "reproduce": _Entry(
        "figures.reproduce",
        "Reproduce a table or figure of the paper: our numbers beside the paper's.",
        "refwfm reproduce table-2 --scale laptop",
    ),
    "verify": _Entry(
        "audit.verify",
        "Check every formula against an independent oracle, and every check against wrong variants.",
        "refwfm verify --only WFM-10 --backend torch",
    ),
    "explain": _Entry(
        "audit.explain",
        "Show a formula: where it stands, its source, its checks and their wrong variants.",
        "refwfm explain 10",
    ),
    "check": _Entry(
        "check.check",
        "List the exercises of the course, begin one, or hold your function against the audit's oracles.",
        "refwfm check ex-06 --start mine.py",
    ),
    "museum": _Entry(
        "museum.museum",
        "Re-create public failures of other libraries, and see that our checks notice each of them.",
        "refwfm museum POT-345",
    ),
    "hostile": _Entry(
        "hostile.hostile",
        "Ask small hostile inputs whose answers are known: every line must be right, or a clear error.",
        "refwfm hostile --only nan --backend numpy",
    ),
    "cite": _Entry(
        "cite.cite", "Print BibTeX of the papers and data that a run used.", "refwfm cite runs/niches"
    ),
    "info": _Entry(
        "info.info",
        "Show versions, backends and devices, or the card of a model that ships.",
        "refwfm info niches",
    ),
    "doctor": _Entry(
        "doctor.doctor",
        "Say what is installed and what computes, what would fail, and the command that mends it.",
        "refwfm doctor --backend torch:cuda",
    ),
    "bench": _Entry(
        "info.bench",
        "Measure the speed beside that of a peer library: medians of runs taken in turns.",
        "refwfm bench bures --repeats 3",
    ),
    "data": _Entry("data.app", "Families of Gaussians and of point clouds: list, show, make your own."),
}


class Commands(TyperGroup):
    """Names and help of all commands; the command itself where one is called."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands = {name: TyperCommand(name, help=entry.help) for name, entry in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Find the command and import it."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else found, rest


def load(name: str, /) -> Any:
    """Command of a name, imported."""
    from refwfm.backends._memory import keep_freed_memory

    keep_freed_memory()
    module, _, attribute = COMMANDS[name].where.partition(".")
    command = getattr(import_module(f"refwfm.cli.{module}"), attribute)
    if isinstance(command, typer.Typer):
        return typer.main.get_command(command)
    single = typer.Typer(add_completion=False)
    single.command(name, epilog=f"Example: {COMMANDS[name].example}")(command)
    return typer.main.get_command(single)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Wasserstein Flow Matching: generative models over probability distributions.",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"refwfm {refwfm.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
