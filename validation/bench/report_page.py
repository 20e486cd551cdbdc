"""Time of loading the whole report in Chromium, against an empty page.

The report is that of all formulas, which takes a minute to make; then both pages are loaded in turns, each in
a tab of its own, up to the end of their load event. Needs Playwright, and a Chromium on the path.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from refwfm.validation import audit
from refwfm.validation.bench.measure import Row
from refwfm.validation.report import page

LIMIT_S = 2.0
"""What a reader waits for at most, on a machine that does nothing else."""

EMPTY = "<!doctype html><title>empty</title>"
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


def rows(repeats: int = 5) -> list[Row]:
    """Make the report, and load it and an empty page in turns."""
    parts = audit.prepare("numpy", "float64", [])
    audit.perform(parts, jobs=1)
    text = page(parts, seed=0)
    panels = text.count('<section class="panel"')
    case = f"load {len(text.encode()) / 1e6:.1f} MB, {panels} panels (limit {LIMIT_S:g} s)"
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        ours, peer = Path(folder, "report.html"), Path(folder, "empty.html")
        ours.write_text(text, encoding="utf-8")
        peer.write_text(EMPTY, encoding="utf-8")
        pairs = [(seconds(browser, ours), seconds(browser, peer)) for _ in range(1 + repeats)][1:]
    ours_s, peer_s = (median(side) for side in zip(*pairs, strict=True))
    return [Row(case, ours_s, "an empty page", peer_s, peer_s / ours_s, None, None)]


def executable() -> str | None:
    """Where Chromium is, if it is on the path."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    found = executable()
    if found is None:
        raise FileNotFoundError("no chromium and no google-chrome on the path")
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=found, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


def seconds(browser: Any, path: Path) -> float:
    """Time from the request of a page to the end of its load event, as the browser took it."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(path.as_uri())
    taken = tab.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    tab.close()
    return float(taken) / 1000


def processor_seconds(tab: Any, path: Path) -> float:
    """Load a page, and return the time of the processor that its main thread took: nobody else's is in it."""
    devtools = tab.context.new_cdp_session(tab)
    devtools.send("Performance.enable")
    tab.goto(path.as_uri())
    found = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    return float(found["ThreadTime"])
