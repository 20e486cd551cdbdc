"""Verdicts of the report: residual against tolerance, and a switch for each wrong variant."""

import inspect
import math
from collections.abc import Iterable
from html import escape

from refwfm.validation.check import Check, CheckResult, ControlResult

LOW, HIGH = -18, 6
"""Exponents of ten at the ends of the axis; what is 0 or infinite is at its ends, too."""


def checks(found: Iterable[Check], results: Iterable[CheckResult], /) -> str:
    """Table of an item's checks: the residual of each, and below it the switches of its wrong variants."""
    lines = [
        '<p class="js"><label class="switch"><input type="checkbox" role="switch"> all wrong variants'
        '</label> <output aria-live="polite"></output></p>'
        '<div class="scroll"><table><thead><tr><th>oracle</th><th class="n">residual</th>'
        '<th class="n">tolerance</th><th>verdict</th></tr></thead><tbody>'
    ]
    for number, (check, result) in enumerate(zip(found, results, strict=True), start=1):
        kind = {True: "good", False: "bad", None: "dim"}[result.ok]
        lines.append(
            f'<tr class="first"><td>{number}. {escape(check.oracle)}</td>'
            f'<td class="n">{figure(result.residual)}</td>'
            f'<td class="n">{figure(result.tolerance)}</td>'
            f'<td class="{kind}">{"ok" if result.ok else escape(result.note)}</td></tr>'
        )
        measured = escape(inspect.getdoc(check.residual) or "").replace("``", "")
        lines.append(
            f'<tr class="more"><td colspan="4">{axis(result.residual, result.tolerance)}{measured}'
            f"<br>Tolerance: {escape(check.tolerance.reason)}."
            f"<br>Must reject:{''.join(switch(each, result.tolerance) for each in result.controls)}</td></tr>"
        )
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def switch(control: ControlResult, tolerance: float, /) -> str:
    """A wrong variant to be opened: where its residual lies, and whether the check fires."""
    return (
        f'<details class="wrong"><summary>{escape(control.variant)}: {figure(control.residual)}</summary>'
        f'{axis(control.residual, tolerance)}<p class="verdict">{verdict(control, tolerance)}</p></details>'
    )


def verdict(control: ControlResult, tolerance: float, /) -> str:
    """In words, with the numbers of the audit."""
    name, left, bound = escape(control.variant), figure(control.residual), figure(tolerance)
    if control.error:
        return f'<b class="bad">Not judged:</b> “{name}” could not run ({escape(control.error)}).'
    if control.residual <= tolerance:
        return f'<b class="bad">Accepted:</b> “{name}” leaves {left} ≤ {bound}. The check is blind.'
    return f'<b class="fires">Rejected:</b> “{name}” leaves {left} &gt; {bound}. The check fires.'


def axis(residual: float, tolerance: float, /) -> str:
    """Residual on a logarithmic axis: accepted on the left of the bound, rejected on its right."""
    if math.isnan(residual):
        return ""
    kind = "in" if residual <= tolerance else "out"
    return (
        f'<div class="axis-of {kind}" style="--bound:{_place(tolerance)}%;--at:{_place(residual)}%" '
        f'aria-hidden="true"><i></i></div>'
    )


def _place(value: float) -> str:
    """Per cent of the axis."""
    exponent = math.log10(value) if 0 < value < math.inf else (LOW if value == 0 else HIGH)
    share = (min(max(exponent, LOW), HIGH) - LOW) / (HIGH - LOW)
    return f"{2 + 96 * share:.1f}".removesuffix(".0")


def figure(value: float, /) -> str:
    """Two digits."""
    return f"{value:.1e}"
