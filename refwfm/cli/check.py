"""``refwfm check``: the exercises of the course, and whether a student's function is right."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from refwfm.cli._common import console, named_path, say
from refwfm.cli._errors import clear_errors
from refwfm.storage import atomic
from refwfm.storage.cache import cache_folder


def check(
    id: Annotated[
        str | None,
        typer.Argument(help="Id of an exercise, such as ex-06: what it asks for.", metavar="[ID]"),
    ] = None,
    file: Annotated[
        str | None, typer.Argument(help="Python file with your function.", metavar="[FILE]")
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Write this file, with the function to fill in.", metavar="FILE")
    ] = None,
    hint: Annotated[int | None, typer.Option(help="1 for a nudge, 3 for nearly all.", min=1, max=3)] = None,
) -> None:
    """List the exercises of the course, begin one, or hold your function against the audit's oracles."""
    with clear_errors():
        from refwfm.validation.exercises import answer, catalogue

        if id is None:
            if start is not None or hint is not None:
                raise ValueError("name an exercise, such as ex-01: refwfm check lists them")
            console.print(_table())
            return
        exercise = catalogue.find(id)
        if file is not None and (start is not None or hint is not None):
            raise ValueError("FILE is checked alone: leave out --start and --hint")
        if hint is not None:
            say(f"hint {hint} of 3: {exercise.hints[hint - 1]}")
        if start is not None:
            _begin(exercise, named_path(start))
        if file is None:
            if start is None and hint is None:
                _ask(exercise)
            return
        verdict = answer.check(exercise, named_path(file))
        if not verdict.passed:
            say(f"{exercise.id}: not yet. {verdict.note}")
            say(f"A hint: refwfm check {exercise.id} --hint 1")
            raise typer.Exit(1)
        _keep(exercise.id)
        say(f"{exercise.id} passed, {verdict.note}")
        say(f"Go on: refwfm explain {exercise.item}")


def _ask(exercise: Any) -> None:
    console.print(Text(f"{exercise.id}  {exercise.title}", style="bold"))
    console.print(Syntax(exercise.stub, "python", word_wrap=True))
    say(f"Begin: refwfm check {exercise.id} --start mine.py    then: refwfm check {exercise.id} mine.py")


def _begin(exercise: Any, path: Path) -> None:
    if path.exists():
        raise ValueError(f"{path} is there already; name a new file")
    atomic.write_text(
        path,
        f'"""{exercise.id}: {exercise.title}."""\n\nimport numpy as np\n\n\n'
        f"{exercise.stub}    raise NotImplementedError\n",
    )
    say(f"wrote {path}: fill in {exercise.name}, then refwfm check {exercise.id} {path}")


def _table() -> Table:
    from refwfm.validation.exercises import catalogue

    passed = _passed()
    table = Table(title="exercises", box=box.SIMPLE, pad_edge=False)
    for heading in ("", "exercise", "formula", ""):
        table.add_column(heading, overflow="fold")
    for number, title in enumerate(catalogue.CHAPTERS, start=1):
        table.add_section()
        table.add_row("", Text(f"{number}. {title}", style="bold"))
        for exercise in catalogue.chapter(title):
            mark = Text("passed", style="green") if exercise.id in passed else ""
            table.add_row(exercise.id, Text(exercise.title), Text(exercise.item), mark)
    table.caption = f"{len(passed)} passed"
    return table


# What was passed: a list of ids beside the cache


def _passed() -> list[str]:
    try:
        found = json.loads(_record().read_text("utf-8"))
    except (OSError, ValueError):  # none yet, or not ours
        return []
    return found if isinstance(found, list) else []


def _keep(id: str) -> None:
    try:
        _record().parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(_record(), json.dumps(sorted({*_passed(), id})))
    except OSError as error:
        say(f"passed, but not remembered: {error}")


def _record() -> Path:
    return cache_folder() / "course.json"
