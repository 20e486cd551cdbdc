"""``refwfm hostile``: small inputs that break libraries, asked of this one, and of others."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from refwfm.cli._common import console, named_path, say
from refwfm.cli._errors import clear_errors
from refwfm.storage import atomic


def hostile(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Ask only the case of this id, or all of this kind (may be repeated)."),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Array library to ask on, such as numpy. JAX compiles for minutes.",
            show_default="every one installed",
        ),
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float64 or float32.", show_default="both")] = None,
    library: Annotated[
        list[str] | None,
        typer.Option(
            help="Ask another library: pot, ott, geomloss, or an adapter of your own, path.py:ADAPTER (may "
            "be repeated); refwfm beside them is this one on numpy."
        ),
    ] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Compare this package with all peers installed, on numpy.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Number of processes.", show_default="one for each core")
    ] = None,
    as_json: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Also write every verdict to this file.", parser=named_path, metavar="PATH"
        ),
    ] = None,
) -> None:
    """Ask small hostile inputs whose answers are known: every line must be right, or a clear error."""
    with clear_errors():
        from refwfm.validation.hostile import cases, survey

        chosen = cases.choose(cases.load(), only or [])
        if as_json is not None and not as_json.parent.is_dir():
            raise FileNotFoundError(f"no folder {str(as_json.parent)!r} to write the verdicts into")
        if library or peers:
            if backend or dtype:
                raise ValueError(
                    "--backend and --dtype choose where this package is asked; not with --peers, --library"
                )
            verdicts, missing = _ask_libraries(chosen, library or ["refwfm"], peers)
        else:
            columns = survey.columns(backend, dtype)
            with _progress(len(chosen) * len(columns)) as advance:
                verdicts, missing = survey.survey(chosen, columns, jobs=jobs, advance=advance), []
        if as_json is not None:
            atomic.write_text(as_json, json.dumps(_to_json(chosen, verdicts), indent=1) + "\n")
    compared = bool(library or peers)
    console.print(_table(chosen, verdicts, compared=compared))
    for line in missing:
        say(line)
    wrong = _list_wrong(chosen, verdicts, compared=compared)
    if wrong and not compared:
        raise typer.Exit(1)


def _ask_libraries(chosen: list[Any], names: list[str], peers: bool) -> tuple[list[Any], list[str]]:
    """Verdicts of all libraries, and a line for each that is not installed."""
    from refwfm.validation.hostile import survey
    from refwfm.validation.hostile.adapters import PEERS, find

    verdicts: list[Any] = []
    missing: list[str] = []
    names = list(dict.fromkeys([*names, *(PEERS if peers else ())]))
    with _progress(len(chosen) * len(names)) as advance:
        for name in names:
            if name == "refwfm":
                verdicts += survey.survey(chosen, survey.columns("numpy", "float64"), jobs=1, advance=advance)
                continue
            try:
                adapter = find(name)
            except ImportError as error:
                if not peers:
                    raise
                missing.append(str(error))
                continue
            verdicts += survey.ask_peer(adapter, chosen, advance=advance)
    return verdicts, missing


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Any], None]]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda verdict: bar.update(
            task, advance=1, description=f"{verdict.case} on {verdict.where}, {verdict.dtype}"
        )


def _table(chosen: list[Any], verdicts: list[Any], *, compared: bool) -> Table:
    """Lay out how many of each verdict there are, a row for each place or library."""
    from refwfm.validation.hostile.judge import ERROR, NOT_ASKED, RIGHT, UNCHECKED, WARNED, WRONG

    kinds = {case.kind for case in chosen}
    table = Table(title=f"{len(chosen)} hostile inputs of {len(kinds)} kinds", box=box.SIMPLE, pad_edge=False)
    table.add_column("library" if compared else "backend", no_wrap=True)
    table.add_column("dtype", no_wrap=True)
    shown = (RIGHT, "error, NaN", WARNED, UNCHECKED, WRONG) if compared else (RIGHT, ERROR, "wrong")
    for heading in (*shown, NOT_ASKED):
        table.add_column(heading, justify="right")
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for verdict in verdicts:
        row = rows.setdefault(
            (verdict.where, verdict.dtype),
            dict.fromkeys((RIGHT, ERROR, WARNED, UNCHECKED, WRONG, NOT_ASKED), 0),
        )
        row[verdict.verdict] += 1
    for (where, dtype), row in rows.items():
        bad = [row[WARNED], row[UNCHECKED], row[WRONG]] if compared else [row[WARNED] + row[WRONG]]
        cells = [Text(str(n), style="bold red" if n else "green") for n in bad]
        table.add_row(where, dtype, str(row[RIGHT]), str(row[ERROR]), *cells, str(row[NOT_ASKED]))
    return table


def _list_wrong(chosen: list[Any], verdicts: list[Any], *, compared: bool) -> int:
    """Print each case that is wrong somewhere, with what came and what is right; return their number."""
    from refwfm.validation.hostile.judge import GOOD, short

    known = {case.id: case for case in chosen}
    bad: dict[str, list[Any]] = {}
    for verdict in verdicts:
        if verdict.verdict not in GOOD:
            bad.setdefault(verdict.case, []).append(verdict)
    for id, found in bad.items():
        case = known[id]
        right = [] if case.right is None else [short(case.right)]
        wanted = " or ".join([*right, *([f"an error ({', '.join(case.error)})"] if case.error else [])])
        console.print(Text(f"\n{id}", style="bold").append(f" ({case.kind}): {case.asks}", style="default"))
        say(f"  {case.why}")
        say(f"  right: {wanted}")
        for verdict in found:
            said = f" {verdict.verdict}:" if compared else ""
            say(f"  {verdict.where}, {verdict.dtype}:{said} {verdict.came}")
    return len(bad)


def _to_json(chosen: list[Any], verdicts: list[Any]) -> dict[str, Any]:
    from refwfm.validation.audit import versions

    return {
        "versions": versions(),
        "cases": [
            {
                "id": case.id,
                "kind": case.kind,
                "asks": case.asks,
                "why": case.why,
                "right": None if case.right is None else _numbers(case.right.tolist()),
                "error": list(case.error),
            }
            for case in chosen
        ],
        "verdicts": [verdict._asdict() for verdict in verdicts],
    }


def _numbers(values: Any) -> Any:
    """JSON has no NaN and no infinity: they become words."""
    if isinstance(values, list):
        return [_numbers(value) for value in values]
    return values if math.isfinite(values) else str(values)
