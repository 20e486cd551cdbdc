"""The audit as one page that needs no network, and no script to be read.

``refwfm verify --report audit.html``. A map of all statements stands on top, then the misprints, then every
formula beside its source, with sliders, its oracles, its wrong variants and their residuals; the machine and
the versions stand at the bottom.
"""

import datetime
import inspect
import platform
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from refwfm.validation import audit, evidence_map, pictures, verdicts
from refwfm.validation.audit import Part, function_name
from refwfm.validation.bench.measure import machine
from refwfm.validation.check import CheckResult, Item, Misprint
from refwfm.validation.formulas import formula_or_prose, mathml, prose
from refwfm.validation.ledger import TWINS
from refwfm.validation.museum.exhibit import Mutant, Verdict, link
from refwfm.validation.panels import catalogue, slider
from refwfm.validation.report_script import SCRIPT
from refwfm.validation.report_style import TOKENS, stylesheet
from refwfm.validation.verdicts import figure

PAPERS = {
    "WFM": "Wasserstein Flow Matching: Generative Modeling over Families of Distributions (ICML 2025)",
    "GWFM": "Generalized Wasserstein Flow Matching: Transport Plans, Everywhere, All at Once",
    "Meta OT": "Meta Optimal Transport (ICML 2023)",
    "Meta FM": "Meta Flow Matching (ICLR 2025)",
    "Semidiscrete": "Flow Matching with Semidiscrete Couplings (2025), here for measures",
    "CondOT": "Supervised Training of Conditional Monge Maps (NeurIPS 2022)",
}


def page(parts: list[Part], /, *, seed: int, museum: Sequence[Verdict] = ()) -> str:
    """Return the whole page as HTML. The first part is shown in full, the others beside it."""
    count = audit.count(parts)
    sections = [
        *((title, parts[0], items) for title, items in parts[0].sections.items() if title != TWINS),
        *((f"Twins of {_where(part)}", part, part.sections.get(TWINS, [])) for part in parts),
    ]
    sections = [section for section in sections if section[2]]
    verdict = "good" if count.failed == 0 else "bad"
    body = [
        "<header>",
        "<h1>Wasserstein Flow Matching: the audit</h1>",
        "<p>Every formula against oracles that share no code with it: closed forms, finite differences, "
        "SciPy, POT, mpmath. Beside it stands the function that implements it. A check counts only if it "
        "also rejects plausible <em>wrong variants</em> of the formula: misprints, signs, factors, missing "
        "roots.</p>",
        *(f"<p>{escape(short)}: <cite>{escape(full)}</cite>.</p>" for short, full in PAPERS.items()),
        f'<p class="lead {verdict}">{escape(str(count))}.</p>',
        _backends(parts),
        "</header>",
        _contents(sections, museum),
        "<main>",
        evidence_map.section(parts[0], PAPERS, lambda item: _article_anchor(item, parts[0])),
        _misprints(parts[0]),
        *(_section(title, part, items, parts) for title, part, items in sections),
        _museum(museum, parts[0]),
        "</main>",
        _environment(seed),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<title>Wasserstein Flow Matching: the audit</title>",
            f"<style>{stylesheet()}</style>",
            "</head>",
            "<body>",
            *body,
            f"<script>{SCRIPT}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _where(part: Part) -> str:
    return f"{part.backend}, {part.dtype}"


def _anchor(id: str, part: Part | None = None) -> str:
    text = id if part is None else f"{id}-{part.backend}-{part.dtype}"
    return "".join(letter if letter.isalnum() else "-" for letter in text)


def _article_anchor(item: Item, part: Part) -> str:
    return _anchor(item.id, part if item.id.startswith("twin-") else None)


# Top


def _backends(parts: list[Part]) -> str:
    rows = []
    for part in parts:
        count = audit.count([part])
        seconds = sum(result.seconds for result in part.results.values())
        state = f'<span class="bad">{count.failed} failed</span>' if count.failed else "all pass"
        rows.append(
            [
                part.backend,
                part.dtype,
                f"{count.formulas}",
                f"{count.checks}",
                f"{count.controls}",
                f"{seconds:.0f} s",
                state + (f", {count.skipped} skipped" if count.skipped else ""),
            ]
        )
    heads = ["backend", "dtype", "formulas", "checks", "wrong variants", "time", "verdict"]
    return _table(heads, rows, numeric=range(2, 6))


def _contents(sections: list[tuple[str, Part, list[Item]]], museum: Sequence[Verdict]) -> str:
    lines = ['<nav aria-label="Contents"><details open><summary>Contents</summary><ul>']
    lines.append('<li><a href="#map">What is known of each statement</a></li>')
    lines.append('<li><a href="#misprints">Misprints</a></li>')
    for title, part, items in sections:
        lines.append(f'<li><a href="#{_anchor(title)}">{escape(title)}</a><ul>')
        lines += [
            f'<li><a href="#{_article_anchor(item, part)}">{escape(item.id)}</a> '
            f'<span class="title">{escape(item.title)}</span></li>'
            for item in items
        ]
        lines.append("</ul></li>")
    lines += ['<li><a href="#museum">Museum</a></li>'] if museum else []
    lines.append('<li><a href="#environment">Environment</a></li></ul></details></nav>')
    return "\n".join(lines)


# Misprints


def _misprints(part: Part) -> str:
    """All misprints, those that numbers tell apart first."""
    found: dict[tuple[str, str], list[tuple[Item, Misprint]]] = {}
    for item in part.items:
        for misprint in item.misprints:
            found.setdefault((misprint.id, misprint.printed), []).append((item, misprint))
    ordered = sorted(found.values(), key=lambda group: (_number_of(group[0][1].id), group[0][1].id))
    cards = [_misprint(group, part) for group in ordered]
    if not cards:
        return '<section id="misprints"><h2>Misprints</h2><p>None in the formulas audited here.</p></section>'
    return "\n".join(
        [
            '<section id="misprints"><h2>Misprints</h2>',
            "<p>Places where the printed formula cannot be what is meant: a sign, a factor, an index. The "
            "papers' methods and results do not depend on them; whoever implements the text literally does. "
            "Both versions were evaluated on the same random inputs: the residual is the distance from an "
            "independent oracle, and only one of the two is within rounding.</p>",
            *cards,
            "</section>",
        ]
    )


def _number_of(id: str) -> int:
    digits = "".join(letter for letter in id if letter.isdigit())
    return int(digits or 0)


def _misprint(group: list[tuple[Item, Misprint]], part: Part) -> str:
    misprint = group[0][1]
    rows = [
        [
            f'<a href="#{_article_anchor(item, part)}">{escape(item.id)}</a>',
            escape(check.oracle),
            f'<span class="bad">{figure(control.residual)}</span>',
            f'<span class="good">{figure(check.residual)}</span>',
            figure(check.tolerance),
        ]
        for item, each in group
        for check in part.results[item.id].checks
        for control in check.controls
        if each.control is not None and control.variant == each.control
    ]
    places = sorted({f"{item.paper}, {item.place}" for item, _ in group})
    heads = ["formula", "oracle", "as printed", "as meant", "tolerance"]
    evidence = (
        _table(heads, rows, numeric=range(2, 5))
        if rows
        else '<p class="soft">A matter of notation: there is no number to compare.</p>'
    )
    return "\n".join(
        [
            f'<div class="misprint" id="{_anchor(misprint.id + "-" + group[0][0].id)}">',
            f"<h3>{escape(misprint.id)}</h3>",
            f'<p class="soft">{escape("; ".join(places))}</p>',
            '<div class="pair">',
            f'<div><h4>Printed</h4><div class="formula">{formula_or_prose(misprint.printed)}</div></div>',
            f'<div><h4>Meant</h4><div class="formula">{formula_or_prose(misprint.correct)}</div></div>',
            "</div>",
            f"<p>{prose(misprint.note)}</p>",
            evidence,
            "</div>",
        ]
    )


# Formulas


def _section(title: str, part: Part, items: list[Item], parts: list[Part]) -> str:
    articles = [_article(item, part, parts) for item in items]
    return "\n".join([f'<section id="{_anchor(title)}"><h2>{escape(title)}</h2>', *articles, "</section>"])


def _article(item: Item, part: Part, parts: list[Part]) -> str:
    anchor, sliders = _article_anchor(item, part), catalogue.by_item()
    formula = f'<div class="formula">{mathml(item.latex)}</div>' if item.latex else ""
    twin = item.id.startswith("twin-")
    others = [] if twin else [other for other in parts[1:] if item.id in other.results]
    return "\n".join(
        [
            f'<article id="{anchor}">',
            f'<h3><a class="id" href="#{anchor}">{escape(item.id)}</a> {escape(item.title)}</h3>',
            f'<p class="soft">{escape(item.paper)}, {escape(item.place)}</p>',
            '<div class="both"><div>',
            formula,
            f"<p>{prose(item.statement)}</p>",
            pictures.figure(item.id),
            *(slider.figure(each, item) for each in sliders.get(item.id, [])),
            "<h4>Checks</h4>",
            f'<div class="checks">{verdicts.checks(item.checks, part.results[item.id].checks)}</div>',
            _elsewhere(item, others),
            "</div><div>",
            "<h4>Implemented by</h4>",
            *(_source(function, open=index == 0) for index, function in enumerate(item.functions)),
            "</div></div>",
            "</article>",
        ]
    )


def _elsewhere(item: Item, others: list[Part]) -> str:
    """Residuals of the same checks on the other backends, in tolerances."""
    if not others:
        return ""
    rows = []
    for other in others:
        cells = [
            _share(result) if result.ok is not False else f'<span class="bad">{escape(result.note)}</span>'
            for result in other.results[item.id].checks
        ]
        rows.append([escape(_where(other)), *cells])
    heads = ["", *(f"check {number}" for number in range(1, len(item.checks) + 1))]
    title = "<h4>Residual / tolerance on the other backends</h4>"
    return title + _table(heads, rows, numeric=range(1, len(heads)))


def _share(result: CheckResult) -> str:
    if result.ok is None:
        return "skipped"
    return f"{result.residual / result.tolerance:.2g}" if result.tolerance else "exact"


def _source(function: Callable[..., Any], *, open: bool) -> str:
    code = highlight(inspect.getsource(function), PythonLexer(), HtmlFormatter(nowrap=True))
    state = " open" if open else ""
    return (
        f"<details{state}><summary>{escape(function_name(function))}</summary>"
        f'<div class="source" tabindex="0"><pre>{_slim(code)}</pre></div></details>'
    )


def _slim(code: str) -> str:
    """Leave only the spans that have a colour."""
    kept, open_spans, index = [], [], 0
    while index < len(code):
        if code.startswith("<span", index):
            end = code.index(">", index) + 1
            tag = code[index:end]
            open_spans.append(tag.partition('class="')[2].rstrip('">') in TOKENS)
            kept += [tag] if open_spans[-1] else []
            index = end
        elif code.startswith("</span>", index):
            kept += ["</span>"] if open_spans.pop() else []
            index += len("</span>")
        else:
            end = code.find("<", index)
            end = len(code) if end < 0 else end
            kept.append(code[index:end])
            index = end
    return "".join(kept)


# Museum


def _museum(verdicts: Sequence[Verdict], part: Part) -> str:
    """Public failures, with links to their threads and to the formulas whose checks notice them."""
    if not verdicts:
        return ""
    rows = [
        [
            escape(verdict.exhibit.id),
            f'<a href="{escape(link(verdict.exhibit))}">{escape(verdict.exhibit.thread)}</a>, '
            f"{verdict.exhibit.year}",
            f"<strong>{escape(verdict.exhibit.title)}.</strong> {escape(verdict.exhibit.story)}",
            _noticed(verdict, part),
        ]
        for verdict in verdicts
    ]
    noticed = sum(verdict.noticed is True for verdict in verdicts)
    return "\n".join(
        [
            '<section id="museum"><h2>Museum</h2>',
            "<p>Public failures of the field's libraries, each re-created here as a wrong version of one of "
            "our functions, which the named check must reject, or as an input to which ours must give the "
            "right answer and a naive version does not. Libraries change: most of these were mended long "
            f"ago. {noticed} of {len(verdicts)} are noticed.</p>",
            _table(["exhibit", "thread", "what happened", "noticed by"], rows, numeric=()),
            "</section>",
        ]
    )


def _noticed(verdict: Verdict, part: Part) -> str:
    by, evidence = escape(verdict.by), verdict.exhibit.evidence
    if isinstance(evidence, Mutant) and evidence.item in part.results:
        by = f'<a href="#{_anchor(evidence.item)}">{by}</a>'
    if verdict.noticed:
        return by
    return f'<span class="{"dim" if verdict.noticed is None else "bad"}">{escape(verdict.note)}</span> ({by})'


# Bottom


def _environment(seed: int) -> str:
    facts = {
        "machine": machine()["cpu"],
        "cores": machine()["cores"],
        "system": platform.platform(),
        "python": platform.python_version(),
        "audited": audit.package(),
        **audit.versions(),
        "seed": seed,
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
    rows = [[escape(name), escape(str(value))] for name, value in facts.items()]
    return (
        '<footer><section id="environment"><h2>Environment</h2>'
        + _table(["", ""], rows, numeric=())
        + '<p class="soft">Repeat it with <code>refwfm verify --report audit.html</code>, one formula with '
        "<code>refwfm verify --only WFM-10</code>.</p></section></footer>"
    )


def _table(heads: list[str], rows: list[list[str]], *, numeric: Iterable[int]) -> str:
    """Cells are HTML already."""
    kinds = [' class="n"' if column in set(numeric) else "" for column in range(len(heads))]
    top = "".join(f"<th{kind}>{head}</th>" for kind, head in zip(kinds, heads, strict=True))
    lines = [
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    ]
    head = f"<thead><tr>{top}</tr></thead>" if any(heads) else ""
    return f'<div class="scroll"><table>{head}<tbody>{"".join(lines)}</tbody></table></div>'
