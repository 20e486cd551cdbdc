"""``refwfm verify`` and ``refwfm explain``: every formula against an oracle that shares no code with it."""

import inspect
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Annotated, Any

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from refwfm import backends
from refwfm.backends import Backend, BackendError
from refwfm.cli._common import console, say
from refwfm.cli._errors import clear_errors

LIBRARIES = (
    "refwfm",
    "numpy",
    "scipy",
    "POT",
    "mpmath",
    "array-api-compat",
    "array-api-strict",
    "torch",
    "jax",
)


def verify(
    only: Annotated[list[str] | None, typer.Option(help="Only this id, as WFM-10 (may be repeated).")] = None,
    backend: Annotated[
        str | None, typer.Option(help="As for train, or all: every one that is installed.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float64 or float32.")] = "float64",
    seed: Annotated[int, typer.Option(min=0, help="Of the random inputs.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers for machines.")] = False,
) -> None:
    """Check every formula against an independent oracle, and every check against wrong variants."""
    with clear_errors():
        from refwfm.validation import ledger

        chosen = _backends(backend, dtype)
        wanted = _sections(ledger, chosen, only or [])
        results = []
        total = sum(len(items) for sections in wanted for items in sections.values())
        with _progress(total, quiet=as_json) as advance:
            for each, sections in zip(chosen, wanted, strict=True):
                for title, items in sections.items():
                    results += [(title, result) for result in _run(items, each, seed, advance)]
    if as_json:
        say(json.dumps(_to_json([result for _, result in results], seed)))
    else:
        _report(results)
    if any(check.ok is False for _, result in results for check in result.checks):
        raise typer.Exit(1)


def explain(id: Annotated[str, typer.Argument(help="Of a formula, as WFM-10.", metavar="ID")]) -> None:
    """Show a formula: where it stands, its source, its checks and their wrong variants."""
    with clear_errors():
        from refwfm.validation import ledger

        item = ledger.lookup(id)
    console.print(Text(f"{item.id}  {item.title}", style="bold"))
    say(f"{item.paper}, {item.place}")
    say(f"\n{item.statement}\n\n  {item.latex}")
    for misprint in item.misprints:
        console.print(Text(f"\n{misprint.id}: the printed formula", style="bold"))
        say(f"  printed:  {misprint.printed}\n  meant:    {misprint.correct}\n  {misprint.note}")
    for function in item.functions:
        console.print(Text(f"\n{_name(function)}", style="bold"))
        console.print(Syntax(inspect.getsource(function), "python", word_wrap=True))
    console.print(Text("\nChecks", style="bold"))
    for check in item.checks:
        say(f"\n- {check.oracle}: {inspect.getdoc(check.residual)}")
        say(f"  tolerance: {check.tolerance.reason}")
        say(f"  must reject: {'; '.join(check.controls)}")
    say(f"\nRun them with: refwfm verify --only {item.id}")


# Choosing


def _backends(name: str | None, dtype: str) -> list[Backend]:
    if name != "all":
        return [backends.load(name, dtype=dtype)]
    found = []
    for each in backends.INSTALL:
        try:
            found.append(backends.load(each, dtype=dtype))
        except BackendError:
            continue  # not installed
    return found


def _sections(ledger: Any, chosen: list[Backend], only: list[str]) -> list[dict[str, list[Any]]]:
    """Items by section for each backend: all, or those asked for."""
    found: list[dict[str, list[Any]]] = [ledger.sections(backend) for backend in chosen]
    known = {
        item.id.casefold(): item.id for sections in found for items in sections.values() for item in items
    }
    for id in only:
        if id.casefold() not in known:
            raise ValueError(f"unknown id {id!r}; the ledger has {', '.join(known.values())}")
    if not only:
        return found
    ids = {known[id.casefold()] for id in only}
    parts = [
        {title: [item for item in items if item.id in ids] for title, items in sections.items()}
        for sections in found
    ]
    return [{title: items for title, items in sections.items() if items} for sections in parts]


def _run(items: list[Any], backend: Backend, seed: int, advance: Callable[[], None]) -> Iterator[Any]:
    from refwfm.validation.check import run

    for result in run(items, backend, seed=seed):
        advance()
        yield result


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    disabled = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=disabled, transient=True) as bar:
        task = bar.add_task("formulas", total=total)
        yield lambda: bar.advance(task)


# Reporting


def _name(function: Callable[..., Any]) -> str:
    """``bures.velocity``: the name inside the package."""
    module = function.__module__.removeprefix("refwfm.")
    return f"{'networks' if module.startswith('networks') else module}.{function.__name__}"


def _report(results: list[tuple[str, Any]]) -> None:
    """Print a table for each backend, then the misprints with their evidence, then the count."""
    by_backend: dict[tuple[str, str], list[tuple[str, Any]]] = {}
    for title, result in results:
        by_backend.setdefault((result.backend, result.dtype), []).append((title, result))
    for (backend, dtype), found in by_backend.items():
        console.print(_table(f"{backend}, {dtype}", found))
    misprints = {
        misprint.id + result.item.id: (result, misprint)
        for _, result in reversed(results)
        for misprint in result.item.misprints
        if misprint.control
    }
    if misprints:
        console.print(_misprint_table(list(reversed(misprints.values()))))
    checks = [check for _, result in results for check in result.checks]
    controls = sum(len(check.controls) for check in checks)
    failed = sum(check.ok is False for check in checks)
    skipped = sum(check.ok is None for check in checks)
    say(
        f"{_count(len(results), 'formula')}, {_count(len(checks), 'check')}, "
        f"{_count(controls, 'wrong variant')}: {failed} failed" + (f", {skipped} skipped" if skipped else "")
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _table(title: str, results: list[tuple[str, Any]]) -> Table:
    """Lay out each formula with its functions, and below it one row for each oracle."""
    table = Table(title=title, box=box.SIMPLE, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("formula: functions, and below them the oracles", overflow="fold")
    for heading in ("residual", "tolerance", "wrong"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    section = None
    for heading, result in results:
        if heading != section:
            section = heading
            table.add_section()
            table.add_row("", Text(heading, style="bold"))
        functions = ", ".join(map(_name, result.item.functions))
        table.add_row(Text(result.item.id), Text(f"{result.item.title}: ").append(functions, style="cyan"))
        for check in result.checks:
            table.add_row(
                "",
                Text(f"  {check.check.oracle}"),
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


def _misprint_table(found: list[tuple[Any, Any]]) -> Table:
    table = Table(title="misprints, with the residuals that tell them apart", box=box.SIMPLE, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("where", "printed", "meant"):
        table.add_column(heading, overflow="fold")
    for heading in ("as printed", "as meant"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result, misprint in found:
        for check in result.checks:
            for control in check.controls:
                if control.variant == misprint.control:
                    table.add_row(
                        misprint.id,
                        Text(result.item.id),
                        Text(misprint.printed),
                        Text(misprint.correct),
                        f"{control.residual:.1e}",
                        f"{check.residual:.1e}",
                    )
    return table


def _to_json(results: list[Any], seed: int) -> dict[str, Any]:
    from refwfm.validation.bench import machine

    return {
        "machine": machine(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "seed": seed,
        "items": [
            {
                "id": result.item.id,
                "title": result.item.title,
                "function": ", ".join(map(_name, result.item.functions)),
                "backend": result.backend,
                "dtype": result.dtype,
                "checks": [
                    {
                        "oracle": check.check.oracle,
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
                "misprints": [misprint._asdict() for misprint in result.item.misprints],
            }
            for result in results
        ],
    }


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
