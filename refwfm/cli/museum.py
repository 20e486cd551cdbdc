"""``refwfm museum``: public failures of the field's libraries, and whether our checks notice them."""

from typing import Annotated, Any

import typer
from rich import box
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from refwfm.cli._common import console, runs_progress, say
from refwfm.cli._errors import clear_errors


def museum(
    id: Annotated[
        str | None,
        typer.Argument(help="Id of an exhibit, such as POT-345: its story and source.", metavar="[ID]"),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Examine only the exhibit of this id (may be repeated).")
    ] = None,
) -> None:
    """Re-create public failures of other libraries, and see that our checks notice each of them."""
    with clear_errors():
        from refwfm.validation import ledger
        from refwfm.validation.museum import catalogue, exhibit

        known = catalogue.by_id()
        names = [id] if id is not None else list(only or known)
        chosen = [catalogue.find(name, known) for name in names]
        verdicts = []
        with runs_progress(len(chosen)) as progress:
            task = progress.add_task("museum", total=len(chosen))
            for verdict in exhibit.examine(chosen, ledger.by_id()):
                verdicts.append(verdict)
                progress.update(task, advance=1, description=verdict.exhibit.id)
    if id is not None:
        _tell(verdicts[0])
    else:
        console.print(_table(verdicts))
    unnoticed = [verdict for verdict in verdicts if verdict.noticed is False]
    skipped = sum(verdict.noticed is None for verdict in verdicts)
    say(
        f"{len(verdicts)} exhibits: {len(verdicts) - len(unnoticed) - skipped} noticed, {skipped} skipped, "
        f"{len(unnoticed)} not noticed"
    )
    if unnoticed:
        raise typer.Exit(1)


def _table(verdicts: list[Any]) -> Table:
    table = Table(title="public failures, re-created", box=box.SIMPLE, pad_edge=False)
    table.add_column("exhibit", no_wrap=True)
    for heading in ("thread", "what", "verdict"):
        table.add_column(heading, overflow="fold")
    for verdict in verdicts:
        shown = verdict.exhibit
        table.add_row(Text(shown.id), Text(shown.thread), Text(shown.title), _verdict(verdict))
    return table


def _verdict(verdict: Any) -> Text:
    if verdict.noticed is None:
        return Text(verdict.note, style="yellow")
    if verdict.noticed:
        return Text("noticed by ", style="green").append(verdict.by)
    return Text(f"not noticed by {verdict.by}: {verdict.note}", style="bold red")


def _tell(verdict: Any) -> None:
    """Print the story of an exhibit, with the source of what fails."""
    from refwfm.validation.museum import exhibit
    from refwfm.validation.museum.exhibit import Trap

    shown = verdict.exhibit
    console.print(Text(f"{shown.id}  {shown.title}", style="bold"))
    say(f"{shown.thread}, {shown.year}: {exhibit.link(shown)}\n\n{shown.story}")
    functions = {"The failure, re-created": exhibit.wrong_function(shown)}
    if isinstance(shown.evidence, Trap):
        functions["What is asked"] = shown.evidence.question
    for title, function in functions.items():
        console.print(Text(f"\n{title}", style="bold"))
        console.print(Syntax(exhibit.source(function), "python", word_wrap=True))
    console.print(_verdict(verdict))
    say(f"{verdict.note}\n")
