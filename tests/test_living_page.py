"""The report's sliders, switches and map: what they show is what the audit computed."""

import html
import json
import re
from collections import Counter

import numpy as np
import pytest
from thirds import THOROUGH

from refwfm import bures
from refwfm.measures import Gaussian
from refwfm.validation import audit, evidence_map, ledger, verdicts
from refwfm.validation.bench import report_page
from refwfm.validation.check import ControlResult
from refwfm.validation.panels import catalogue, slider
from refwfm.validation.panels.plot import HEIGHT, WIDTH, chart, dots, ellipse, line, plane
from refwfm.validation.report import page
from refwfm.validation.report_script import SCRIPT

SOME = ["WFM-2", "WFM-8", "WFM-10", "GWFM-32"]
ITEMS = ledger.by_id()
SLIDERS = [each for sliders in catalogue.by_item().values() for each in sliders]


@pytest.fixture(scope="module")
def parts():
    found = audit.prepare("numpy", "float64", SOME)
    audit.perform(found, jobs=1)
    return found


@pytest.fixture(scope="module")
def text(parts):
    return page(parts, seed=0)


# Sliders


def test_there_are_many_panels():
    assert len(SLIDERS) >= 60
    assert len({(each.item, each.function, each.name) for each in SLIDERS}) == len(SLIDERS)


@pytest.mark.parametrize("each", SLIDERS, ids=lambda each: f"{each.item}-{each.function}")
def test_frames_are_the_functions_and_wrong_ones_differ(each):
    item = ITEMS[each.item]
    assert 0 <= each.best < len(each.values)
    few = each if THOROUGH else each._replace(values=each.values[-2:])
    function = slider.audited(each, item)
    ours = list(slider.frames(few, function))
    assert all(frame.svg and "nan" not in frame.svg and "inf" not in frame.svg for frame in ours)
    assert len({frame.says for frame in ours}) == len(ours)
    wrong = slider.wrong_variants(each, item)
    assert tuple(wrong) == each.wrong
    for variant, control in wrong.items():
        pairs = zip(slider.frames(each, function), slider.frames(each, control), strict=True)
        assert any(right != other and other.svg for right, other in pairs), variant


def extent(svg):
    """Lowest and highest coordinates of what an SVG draws, and those of the words' anchors: (2, 2)."""
    found = [
        np.array(re.findall(r"[ML]?(-?[\d.]+) (-?[\d.]+)", path), float)
        for path in re.findall(r'<path class="(?!axis|cell)[^>]* d="([^"]*)"', svg)
    ]
    for rx, ry, x, y, angle in re.findall(
        r'rx="([\d.]+)" ry="([\d.]+)" transform="translate\(([-\d.]+) ([-\d.]+)\)rotate\(([-\d.]+)', svg
    ):
        turn = np.deg2rad(float(angle))
        reach = np.hypot(
            float(rx) * np.array([np.cos(turn), np.sin(turn)]),
            float(ry) * np.array([np.sin(turn), np.cos(turn)]),
        )
        centre = np.array([float(x), float(y)])
        found.append(np.stack([centre - reach, centre + reach]))
    found.append(np.array(re.findall(r'<text class="[^"]*" x="([-\d.]+)" y="([-\d.]+)"', svg), float))
    points = np.concatenate([each.reshape(-1, 2) for each in found])
    return np.stack([points.min(axis=0), points.max(axis=0)])


@pytest.mark.parametrize("each", SLIDERS, ids=lambda each: f"{each.item}-{each.function}")
def test_what_the_audited_function_computes_lies_in_its_picture(each):
    few = each if THOROUGH else each._replace(values=(each.values[0], each.values[-1]), best=0)
    for frame in slider.frames(few, slider.audited(each, ITEMS[each.item])):
        low, high = extent(frame.svg)
        assert np.all(low > -1)
        assert np.all(high < [WIDTH + 1, HEIGHT + 1])
        assert ' ry="0"' not in frame.svg


def test_what_leaves_a_picture_is_noticed():
    far = plane([dots(np.array([[0.0, 0.0], [3.0, 0.0]]))], x=(-1, 1), y=(-1, 1))
    assert extent(far)[1, 0] > WIDTH
    large = plane([ellipse(Gaussian(np.zeros(2), np.eye(2)))], x=(-1, 1), y=(-1, 1))
    assert extent(large)[0, 1] < 0
    flat = plane([ellipse(Gaussian(np.zeros(2), np.diag([0.1, 0.0])))], x=(-1, 1), y=(-1, 1))
    assert 'ry="0.1"' in flat


def test_ticks_without_room_are_powers():
    drawn = chart([], x=(0, 1e5), y=(0, 1e-3), labels=("step", "rate"))
    assert {"0", "5e4", "1e5", "5e-4", "1e-3"} == set(re.findall(r">([\d.e-]+)</text>", drawn))
    assert ">0.5</text>" in chart([], x=(0, 1), y=(0, 1), labels=("x", "y"))


def test_a_function_that_raises_is_said_so():
    def broken(*arguments):
        raise ValueError("no <luck>")

    item = ITEMS["WFM-8"]
    broken.__name__ = "interpolate"
    functions = tuple(broken if each.__name__ == "interpolate" else each for each in item.functions)
    shown = slider.figure(catalogue.by_item()["WFM-8"][0], item._replace(functions=functions))
    assert "nothing to draw. ValueError: no &lt;luck&gt;" in shown


def test_a_chart_rounds_its_coordinates():
    drawn = chart([line([(1.0, 1e-16), (2.0, 1.0)])], x=(1, 2), y=(1e-16, 1), labels=("n", "error"), log="y")
    assert not re.search(r"\d\.\d\d", drawn.partition('class="a"')[2])
    assert "1e-16" in drawn


# Switches


def test_every_wrong_variant_has_a_switch_with_the_numbers_of_the_audit(text, parts):
    found = re.findall(
        r'<details class="wrong"><summary>(.*?)</summary>.*?<p class="verdict">(.*?)</p>', text
    )
    wanted = [
        (control, check.tolerance)
        for item in parts[0].items
        for check in parts[0].results[item.id].checks
        for control in check.controls
    ]
    shown = Counter(html.unescape(name) for name, _ in found)
    assert shown == Counter(f"{control.variant}: {control.residual:.1e}" for control, _ in wanted)
    said = Counter(html.unescape(re.sub("<.*?>", "", words)) for _, words in found)
    assert said == Counter(
        f"Rejected: “{control.variant}” leaves {control.residual:.1e} > {tolerance:.1e}. The check fires."
        for control, tolerance in wanted
    )


def test_verdicts_tell_what_is_blind_and_what_broke():
    assert "Accepted" in verdicts.verdict(ControlResult("a", 1e-3), 1e-2)
    assert "fires" in verdicts.verdict(ControlResult("a", 1e-1), 1e-2)
    assert "could not run (no &lt;)" in verdicts.verdict(ControlResult("a", float("nan"), "no <"), 1e-2)


def test_the_bound_divides_the_axis():
    def places(residual, tolerance):
        return [float(each) for each in re.findall(r":([\d.]+)%", verdicts.axis(residual, tolerance))]

    for residual in (0.0, 1e-300, 1e-12, 1.0, 1e300, float("inf")):
        bound, at = places(residual, 1e-8)
        assert (at < bound) == (residual < 1e-8)
        assert 0 <= at <= 100
    assert places(0.0, 0.0) == [2.0, 2.0]
    assert verdicts.axis(float("nan"), 1.0) == ""


# Map


def test_the_map_has_every_statement_in_graph_and_table(text, parts):
    top = text[text.index('id="map"') : text.index('id="misprints"')]
    graph, _, table = top.partition('class="as-table"')
    for item in parts[0].items:
        if not item.id.startswith("twin"):
            assert f'href="#{item.id}"' in graph
            assert f'href="#{item.id}"' in table
            assert all(html.escape(check.oracle) in table for check in item.checks)


def test_statuses():
    item = ITEMS["WFM-U2"]
    results = [verdict_of(check) for check in item.checks]
    assert evidence_map.status(item, results) == "closed"
    assert evidence_map.status(item, [each._replace(ok=None) for each in results]) == "none"
    assert evidence_map.status(item, [results[0]._replace(ok=False), *results[1:]]) == "fails"
    chance = ITEMS["GWFM-SRC1"]
    assert evidence_map.status(chance, [verdict_of(check) for check in chance.checks]) == "chance"


def verdict_of(check):
    return audit.check.CheckResult(check.oracle, 0.0, 1.0, (), True, "")


def broken(wrong):
    """The wrong variant under the name of the function; with source, which the page shows."""

    def interpolate(mu, nu, t, **options):
        return wrong(mu, nu, t)

    return interpolate


def test_a_tampered_function_is_seen_everywhere(parts):
    item = next(each for each in parts[0].items if each.id == "WFM-8")
    wrong = item.checks[0].controls["the mixture of covariances"]
    assert item.checks[0].implementation is bures.interpolate
    tampered = item._replace(
        functions=tuple(broken(wrong) if each is bures.interpolate else each for each in item.functions),
        checks=(item.checks[0]._replace(implementation=broken(wrong)), *item.checks[1:]),
    )
    backend = audit.backends.load("numpy", dtype="float64")
    (result,) = audit.check.run([tampered], backend)
    part = parts[0]._replace(sections={"Geodesics": [tampered]}, results={"WFM-8": result})
    shown = page([part], seed=0)
    assert "✗ a check fails: 1" in shown
    assert '<p class="lead bad">' in shown
    ours = next(each for each in catalogue.by_item()["WFM-8"] if each.function == "interpolate")
    panel = shown[shown.index('<section class="panel"') :]
    assert [each.says for each in slider.frames(ours, wrong)][ours.best] in panel[: panel.index("<script")]
    assert 'class="axis-of out"' in shown[shown.index("<h4>Checks") : shown.index("Must reject")]


# Page


def test_the_script_computes_nothing_and_asks_nobody(text):
    assert text.count(SCRIPT) == 1
    for word in ("Math.", "http", "fetch", "XMLHttpRequest", "import", "eval", "**"):
        assert word not in SCRIPT
    others = re.findall(r"<script(.*?)>(.*?)</script>", text.replace(SCRIPT, ""), re.S)
    assert all(
        kind == ' type="application/json"' and json.loads(stored or "[]") for kind, stored in others[:-1]
    )
    assert "http" not in text.replace('xmlns="http://www.w3.org/1998/Math/MathML"', "")
    assert len(text.encode()) < 10e6


def test_in_chromium_sliders_move_and_switches_fire(text, tmp_path):
    if report_page.executable() is None:
        pytest.skip("needs chromium")
    pytest.importorskip("playwright.sync_api")
    path = tmp_path / "page.html"
    path.write_text(text, encoding="utf-8")
    with report_page.chromium() as browser:
        for width in (390, 1280):
            tab = browser.new_page(viewport={"width": width, "height": 900})
            complaints, asked = [], []
            tab.on("console", lambda message, to=complaints: to.append(message.text))
            tab.on("pageerror", lambda error, to=complaints: to.append(str(error)))
            tab.on("request", lambda request, to=asked: to.append(request.url))
            # Of the processor, not of the clock: others may be busy. Some 0.06 s for these four formulas; for
            # the whole page, by the clock, there is refwfm bench report-page.
            assert report_page.processor_seconds(tab, path) < report_page.LIMIT_S / 4
            panel = tab.locator("#WFM-8 .panel").first
            before = panel.locator(".frames svg").first.inner_html()
            panel.locator("input").focus()
            tab.keyboard.press("ArrowRight")
            assert panel.locator(".frames svg").first.inner_html() != before
            assert panel.locator("output").text_content().startswith("t = 0.625")
            checks = tab.locator("#WFM-8 .checks")
            assert checks.locator(".verdict").first.is_hidden()
            checks.locator("input").check()
            assert checks.locator(".verdict").first.is_visible()
            tab.wait_for_function(
                "document.querySelector('#WFM-8 .checks output').textContent.includes('fires')"
            )
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert complaints == []
            assert all(url.startswith(("file:", "data:")) for url in asked)


def test_without_a_script_it_can_be_read(text):
    """The best frame is there, and the switches are ``details``; what needs the script is hidden."""
    bare = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert bare.count('<div role="img"') == bare.count('<div class="frames')
    assert re.search(r"\.js \{ display: none; \}", bare)
