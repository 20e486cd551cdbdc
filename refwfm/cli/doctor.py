"""``refwfm doctor``: what is installed, what computes, what would fail and the command that mends it."""

import json
import warnings
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

import refwfm
from refwfm.cli._common import Backend, console, gigabytes, say

if TYPE_CHECKING:
    from refwfm.backends.diagnosis import Computed, Diagnosis


def doctor(
    backend: Backend = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Say what is installed and what computes, what would fail, and the command that mends it.

    The exit code is 0 if the backend that was asked for works (--backend, else REFWFM_BACKEND, else numpy),
    and 1 if it does not.
    """
    from refwfm.backends import diagnosis, machine

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a library has to say about itself is in its row
        found = diagnosis.examine(machine.look(), backend)
    if as_json:
        say(json.dumps(_to_json(found)))
    else:
        _show(found)
    if not found.works:
        raise typer.Exit(1)


def _show(found: "Diagnosis") -> None:
    from refwfm.backends.diagnosis import FAULT
    from refwfm.backends.machine import LIBRARIES, OF_DEVICES, SHOWN

    seen = found.machine
    table = Table(title=f"refwfm {refwfm.__version__}", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("python", seen.python)
    table.add_row(
        "cores", f"{seen.cores} usable; memory {gigabytes(seen.memory) if seen.memory else 'unknown'}"
    )
    for library, count in seen.blas:
        table.add_row("matrix library", f"{library}, {count} thread(s)")
    driver = "none" if seen.driver_cuda is None else "for CUDA {}.{}".format(*seen.driver_cuda)
    table.add_row("NVIDIA driver", driver)
    for card in seen.cards:
        table.add_row("GPU", f"{card.name}, {card.memory}, driver {card.driver}")
    table.add_section()
    for name in SHOWN:
        table.add_row(name, seen.packages.get(name, "not installed"))
    for name in sorted(seen.packages):
        if OF_DEVICES.fullmatch(name):
            table.add_row(name, seen.packages[name])
    table.add_section()
    for name, devices in found.devices.items():
        for words in devices if name in LIBRARIES else []:
            table.add_row(f"{name} sees", Text(words))
    table.add_section()
    for each in found.computed:
        table.add_row(f"{each.backend} {each.dtype}", Text(_in_words(each)))
    console.print(table)
    for finding in found.findings:
        style = "bold red" if finding.kind == FAULT else "bold yellow"
        console.print(
            Text(f"{finding.kind}: ", style=style).append(finding.words, style="default"), soft_wrap=True
        )
        say(f"  {finding.fix}")
    say(f"{found.asked} {'works' if found.works else 'does not work'}")


def _in_words(computed: "Computed") -> str:
    if computed.fault:
        return f"does not start: {computed.fault}"
    parts = (
        f"{each.name} fails: {each.fault}"
        if each.epsilons is None
        else f"{each.name} {each.epsilons:.2g} eps"
        for each in computed.probes
    )
    return f"{'right' if computed.works else 'WRONG'}: {', '.join(parts)}"


def _to_json(found: "Diagnosis") -> dict[str, Any]:
    seen = found.machine._asdict()
    seen["variables"] = {
        name: value for name, value in found.machine.variables.items() if name.startswith(("REFWFM_", "OMP_"))
    }
    seen["cards"] = [card._asdict() for card in found.machine.cards]
    return {
        "version": refwfm.__version__,
        "asked": found.asked,
        "works": found.works,
        "machine": seen,
        "devices": found.devices,
        "computed": [
            {
                "backend": each.backend,
                "dtype": each.dtype,
                "works": each.works,
                "fault": each.fault,
                "probes": [part._asdict() for part in each.probes],
            }
            for each in found.computed
        ],
        "findings": [finding._asdict() for finding in found.findings],
    }
