"""The map of the report: each statement of the papers, its functions, their oracles, and what that proves."""

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

from refwfm.validation.audit import Part, function_name
from refwfm.validation.check import Check, CheckResult, Item

STATUSES = {
    "fails": "a check fails",
    "closed": "proved by a closed form",
    "oracle": "checked by an independent oracle",
    "chance": "checked statistically",
    "none": "not checked here",
}
"""What is known of a statement: a failure, or else the strongest of its checks."""

SIGNS = {"fails": "✗", "closed": "■", "oracle": "●", "chance": "◔", "none": "○"}
CLOSED = (
    "closed form",
    "exact",
    "fractions",
    "rational numbers",
    "integers",
    "defining equation",
    "definition",
)
CHANCE = ("Monte Carlo", "frequencies", "Kolmogorov")
ROW, WIDTH = 17, 980
FUNCTION, ORACLE, STATUS = 330, 600, 960


def status_of_check(check: Check, result: CheckResult, /) -> str:
    """Kind of evidence, by the name of the oracle and by what the tolerance counts."""
    if result.ok is None:
        return "none"
    if not result.ok:
        return "fails"
    if "standard error" in check.tolerance.reason or any(word in check.oracle for word in CHANCE):
        return "chance"
    return "closed" if any(word in check.oracle for word in CLOSED) else "oracle"


def status(item: Item, results: Sequence[CheckResult], /) -> str:
    """Status of a statement."""
    found = {status_of_check(*pair) for pair in zip(item.checks, results, strict=True)}
    return next((each for each in STATUSES if each in found), "none")


def section(part: Part, papers: dict[str, str], anchor: Callable[[Item], str], /) -> str:
    """The map: how many statements have which status, a graph for each paper, and all of it as a table."""
    items = {paper: [item for item in part.items if item.paper == paper] for paper in papers}
    known = {item.id: status(item, part.results[item.id].checks) for each in items.values() for item in each}
    total = Counter(known.values())
    legend = "".join(
        f'<li class="s-{kind}">{SIGNS[kind]} {words}: {total[kind]}</li>' for kind, words in STATUSES.items()
    )
    graphs, rows = [], []
    for number, (paper, each) in enumerate(items.items()):
        if each:
            graphs.append(
                f"<details{'' if number else ' open'}><summary>{escape(paper)}: {len(each)} statements"
                f'</summary><div class="map" tabindex="0" role="group" aria-label="Graph of {escape(paper)}">'
                f"{_graph(each, part, anchor)}</div></details>"
            )
            rows += [_row(item, part, known[item.id], anchor(item)) for item in each]
    return (
        '<section id="map"><h2>What is known of each statement</h2>'
        "<p>From the statement over the functions that implement it to the oracles they are held against. "
        f'The status is that of the strongest check.</p><ul class="legend">{legend}</ul>{"".join(graphs)}'
        '<details class="as-table"><summary>The same as a table</summary><div class="map"><table><thead><tr>'
        "<th>statement</th><th>functions</th><th>oracles</th><th>status</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></details></section>"
    )


def _row(item: Item, part: Part, known: str, anchor: str) -> str:
    pairs = zip(item.checks, part.results[item.id].checks, strict=True)
    oracles = "; ".join(f"{SIGNS[status_of_check(*pair)]} {escape(pair[0].oracle)}" for pair in pairs)
    return (
        f'<tr><td><a href="#{anchor}">{escape(item.id)}</a> {escape(item.title)}</td>'
        f"<td>{escape(', '.join(map(function_name, item.functions)))}</td><td>{oracles}</td>"
        f'<td class="s-{known}">{SIGNS[known]} {STATUSES[known]}</td></tr>'
    )


def _graph(items: list[Item], part: Part, anchor: Callable[[Item], str]) -> str:
    """One block below the other: a statement, its functions, its oracles, its status."""
    blocks, top = [], 0.0
    for item in items:
        rows = max(len(item.functions), len(item.checks))
        blocks.append(_block(item, part.results[item.id].checks, anchor(item), top, rows))
        top += ROW * rows + 7
    return f'<svg viewBox="0 0 {WIDTH} {top:g}" aria-hidden="true">{"".join(blocks)}</svg>'


def _block(item: Item, results: Sequence[CheckResult], anchor: str, top: float, rows: int) -> str:
    middle = top + ROW * rows / 2
    functions = _spread(len(item.functions), middle)
    oracles = _spread(len(item.checks), middle)
    edges = [_edge(250, middle, FUNCTION - 6, y) for y in functions]
    words = [
        _words(FUNCTION, y, function_name(each), 34)
        for each, y in zip(item.functions, functions, strict=True)
    ]
    for check, result, y in zip(item.checks, results, oracles, strict=True):
        kind = status_of_check(check, result)
        asked = [
            at for each, at in zip(item.functions, functions, strict=True) if each is check.implementation
        ]
        edges += [_edge(FUNCTION + 210, at, ORACLE - 14, y, kind) for at in asked or [middle]]
        edges.append(_edge(ORACLE + 290, y, STATUS - 8, middle, kind))
        words.append(_words(ORACLE - 10, y, f"{SIGNS[kind]} {check.oracle}", 46, kind))
    known = status(item, results)
    words.append(_words(STATUS - 4, middle, SIGNS[known], 2, f"{known} large"))
    name = f'<a href="#{anchor}">{_words(0, middle, item.id + " " + item.title, 38)}</a>'
    return f'<g class="block">{"".join(edges)}{name}{"".join(words)}</g>'


def _spread(count: int, middle: float) -> list[float]:
    return [middle + ROW * (index - (count - 1) / 2) for index in range(count)]


def _edge(x0: float, y0: float, x1: float, y1: float, kind: str = "") -> str:
    bend = (x0 + x1) / 2
    return f'<path class="e s-{kind}" d="M{x0:g} {y0:g}C{bend:g} {y0:g} {bend:g} {y1:g} {x1:g} {y1:g}"/>'


def _words(x: float, y: float, text: str, most: int, kind: str = "") -> str:
    short = text if len(text) <= most else text[: most - 1] + "…"
    whole = f"<title>{escape(text)}</title>" if short != text else ""
    style = f' class="s-{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y + 4:g}"{style}>{escape(short)}{whole}</text>'
