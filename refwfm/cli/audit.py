"""``refwfm verify`` and ``refwfm explain``: every formula against an oracle that shares no code with it."""

import inspect
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from refwfm.backends.cluster import connected
from refwfm.cli._common import Executor, console, named_path, say
from refwfm.cli._errors import clear_errors
from refwfm.storage import atomic


def verify(
    only: Annotated[
        list[str] | None,
        typer.Option(help="Check only the formula of this id, such as WFM-10 (may be repeated)."),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Array library to check on, such as numpy or torch, or all for every one installed."
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Floating type to check in: float64, float32 or all.",
            show_default="float64; with --backend all both, jax and strict one",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random inputs.")] = 0,
    every_draw: Annotated[
        bool,
        typer.Option(
            "--every-draw",
            help="Ask every oracle on every random draw on other libraries than NumPy too: minutes on jax.",
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of processes, where there are several backends.",
            show_default="one for each core",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(parser=named_path, metavar="PATH", help="Also write the whole audit to this HTML file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    executor: Executor = "loky",
) -> None:
    """Check every formula against an independent oracle, and every check against wrong variants."""
    with clear_errors():
        from refwfm.validation import audit

        if report is not None and not report.parent.is_dir():
            raise FileNotFoundError(f"no folder {str(report.parent)!r} to write the report into")
        parts = audit.prepare(backend, dtype, only or [])
        formulas = sum(len(part.items) for part in parts)
        with connected(executor, jobs=jobs) as cluster, _progress(formulas, quiet=as_json) as advance:
            options = {"seed": seed, "every_draw": every_draw, "jobs": jobs, "cluster": cluster}
            audit.perform(parts, **options, advance=advance)
        if report is not None:
            from refwfm.validation.museum import catalogue, exhibit
            from refwfm.validation.report import page

            whole = {item.id: item for item in parts[0].items}
            museum = [] if only else list(exhibit.examine(catalogue.by_id().values(), whole))
            atomic.write_text(report, page(parts, seed=seed, museum=museum))
    count = audit.count(parts)
    if as_json:
        say(json.dumps(_to_json(parts, seed)))
    else:
        console.print(_table(parts[0]))
        if len(parts) > 1:
            console.print(_overview(parts))
        console.print(_misprint_table(parts[0]))
        say(f"{count}" + (f"; the report is {report}" if report is not None else ""))
        say(f"audited: {audit.package()}")
    if count.failed:
        raise typer.Exit(1)


def explain(
    what: Annotated[
        str,
        typer.Argument(
            help="Number of an equation (10), id of a formula (GWFM-32) or of a misprint (E1), name of a "
            "function (bures.velocity), or a word.",
            metavar="WHAT",
        ),
    ],
) -> None:
    """Show a formula: where it stands, its source, its checks and their wrong variants."""
    with clear_errors():
        from refwfm.validation import ledger
        from refwfm.validation.audit import function_name
        from refwfm.validation.plain_formulas import plain, plain_or_prose

        item, *others = ledger.search(what, ledger.by_id())
    console.print(Text(f"{item.id}  {item.title}", style="bold"))
    say(f"{item.paper}, {item.place}")
    say(f"\n{item.statement}\n\n  {plain(item.latex)}")
    for misprint in item.misprints:
        console.print(Text(f"\n{misprint.id}: the printed formula", style="bold"))
        say(f"  printed:  {plain_or_prose(misprint.printed)}\n  meant:    {plain_or_prose(misprint.correct)}")
        say(f"  {plain_or_prose(misprint.note)}")
    for function in item.functions:
        console.print(Text(f"\n{function_name(function)}", style="bold"))
        console.print(Syntax(inspect.getsource(function), "python", word_wrap=True))
    console.print(Text("\nChecks", style="bold"))
    for check in item.checks:
        say(f"\n- {check.oracle}: {inspect.getdoc(check.residual)}")
        say(f"  tolerance: {check.tolerance.reason}")
        say(f"  must reject: {'; '.join(check.controls)}")
    say(f"\nRun them with: refwfm verify --only {item.id}")
    if others:
        say(f"\n{len(others)} more for {what!r}: refwfm explain and one of")
        for other in others:
            say(f"  {other.id:<20}{other.title}")


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[Any], None]]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    disabled = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=disabled, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda result: bar.update(
            task, advance=1, description=f"{result.id} on {result.backend}, {result.dtype}"
        )


# Tables


def _table(part: Any) -> Table:
    """Lay out each formula with its functions, and below it one row for each oracle."""
    from refwfm.validation.audit import function_name

    table = Table(title=f"{part.backend}, {part.dtype}", box=box.SIMPLE, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("formula: functions, and below them the oracles", overflow="fold")
    for heading in ("residual", "tolerance", "wrong"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for heading, items in part.sections.items():
        table.add_section()
        table.add_row("", Text(heading, style="bold"))
        for item in items:
            functions = ", ".join(map(function_name, item.functions))
            table.add_row(Text(item.id), Text(f"{item.title}: ").append(functions, style="cyan"))
            for check in part.results[item.id].checks:
                table.add_row(
                    "",
                    Text(f"  {check.oracle}"),
                    f"{check.residual:.1e}",
                    f"{check.tolerance:.1e}",
                    f"{min((control.residual for control in check.controls), default=math.nan):.1e}",
                    _verdict(check),
                )
    table.caption = "wrong: the smallest residual of the wrong variants, which must exceed the tolerance"
    return table


def _verdict(check: Any) -> Text:
    if check.ok:
        return Text("ok", style="green")
    return Text(check.note, style="yellow" if check.ok is None else "bold red")


def _overview(parts: list[Any]) -> Table:
    """Lay out the formulas against the backends: the largest residual in tolerances, or what failed."""
    table = Table(title="all backends: largest residual / tolerance", box=box.SIMPLE, pad_edge=False)
    table.add_column("id", no_wrap=True)
    for part in parts:
        table.add_column(f"{part.backend} {part.dtype}", justify="right", overflow="fold")
    rows = {item.id: item for part in parts for item in part.items}
    for id in rows:
        table.add_row(Text(id), *(_cell(part.results.get(id)) for part in parts))
    return table


def _cell(result: Any) -> Text:
    if result is None:
        return Text("")
    notes = [f"{check.oracle}: {check.note}" for check in result.checks if check.ok is False]
    if notes:
        return Text("; ".join(notes), style="bold red")
    used = [check.residual / check.tolerance for check in result.checks if check.ok and check.tolerance > 0]
    return Text(f"{max(used):.2g}" if used else "exact", style="green")


def _misprint_table(part: Any) -> Table | str:
    from refwfm.validation.plain_formulas import plain_or_prose

    table = Table(title="misprints, with the residuals that tell them apart", box=box.SIMPLE, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("where", "printed", "meant", "oracle"):
        table.add_column(heading, overflow="fold")
    for heading in ("as printed", "as meant"):
        table.add_column(heading, justify="right", no_wrap=True)
    for item in part.items:
        for misprint in item.misprints:
            readings = map(plain_or_prose, (misprint.printed, misprint.correct))
            words = [misprint.id, item.id, *readings]
            for check in part.results[item.id].checks:
                for control in check.controls:
                    if control.variant == misprint.control:
                        residuals = (f"{residual:.1e}" for residual in (control.residual, check.residual))
                        table.add_row(*map(Text, [*words, check.oracle, *residuals]))
                        words = 4 * [""]  # the next oracle is of the same misprint
    return table if table.row_count else ""


# Numbers for machines


def _to_json(parts: list[Any], seed: int) -> dict[str, Any]:
    from refwfm.validation.audit import package, versions
    from refwfm.validation.bench.measure import machine

    return {
        "audited": package(),
        "machine": machine(),
        "versions": versions(),
        "seed": seed,
        "items": [_item_to_json(item, part.results[item.id]) for part in parts for item in part.items],
    }


def _item_to_json(item: Any, result: Any) -> dict[str, Any]:
    from refwfm.validation.audit import function_name

    return {
        "id": item.id,
        "title": item.title,
        "function": ", ".join(map(function_name, item.functions)),
        "backend": result.backend,
        "dtype": result.dtype,
        "seconds": round(result.seconds, 3),
        "checks": [
            {
                "oracle": check.oracle,
                "residual": _number(check.residual),
                "tolerance": check.tolerance,
                "controls": [
                    {"variant": control.variant, "residual": _number(control.residual)}
                    for control in check.controls
                ],
                "ok": check.ok,
                "note": check.note,
            }
            for check in result.checks
        ],
        "misprints": [misprint._asdict() for misprint in item.misprints],
    }


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
