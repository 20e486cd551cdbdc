"""The report: valid HTML that needs no network, every formula rendered, misprints on top, no overflow."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from command import refwfm

from refwfm.validation import audit, ledger, pictures
from refwfm.validation.formulas import formula_or_prose, mathml, prose
from refwfm.validation.report import page

EMPTY = {"meta", "br", "img", "input"}
SOME = ["WFM-2", "WFM-8", "WFM-10", "WFM-23", "WFM-24"]


class Reader(HTMLParser):
    """Keeps what a page is made of; a tag that is not closed in order is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.resources = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag not in EMPTY:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        if tag == "a":
            self.links.append(found["href"])
        self.resources += [found[name] for name in ("src", "srcset", "data", "action") if name in found]

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture(scope="module")
def parts():
    found = audit.prepare("numpy", "all", SOME)
    audit.perform(found, jobs=1)
    return found


@pytest.fixture(scope="module")
def html(parts):
    return page(parts, seed=0)


# Formulas


@pytest.mark.parametrize("item", ledger.by_id().values(), ids=lambda item: item.id)
def test_every_formula_of_the_ledger_has_mathml(item):
    assert "<math" in mathml(item.latex)
    prose(item.statement)
    for misprint in item.misprints:
        for text in (misprint.printed, misprint.correct):
            assert formula_or_prose(text)
        prose(misprint.note)


def test_styled_letters_are_characters():
    text = mathml(
        r"\mathfrak p_0,\mathbb R^d,\mathcal N,\mathbf P,\boldsymbol\Pi,\mathsf S,\mathbb 1,\mathcal e"
    )
    assert "mathvariant" not in text
    for letter in "𝔭ℝ𝒩𝐏𝜫𝖲𝟙ℯ":
        assert letter in text


def test_functions_stand_apart():
    text = mathml(r"t\log_xy+\mathrm{Tr}(A)+\inf_Px", display=True)
    assert '<mo lspace="0.167em" rspace="0.167em">log</mo>' in text
    assert '<mo lspace="0.167em" rspace="0">Tr</mo>' in text
    assert "<munder>" in text
    assert "<munder>" not in mathml(r"\inf_Px", display=False)
    assert ">id</mi>" in mathml(r"\mathrm{id}")


def test_the_rest_of_latex():
    for latex in (
        r"\begin{pmatrix}a&b\\c&d\end{pmatrix}",
        r"\dot m_t+\Vert x\Vert+\widehat T_\varepsilon+\lVert y\rVert",
        r"\operatorname*{arg\,min}_P\langle K,P\rangle",
        r"\arg\min_P\sqrt{x}\quad\text{for all } x\ge0",
        r"\begin{cases}1&x\\0&y\end{cases}",
        r"\Bigl(\tfrac12\Bigr)^\top\sharp\preceq\lesssim\asymp\otimes\circ",
    ):
        assert "\\" not in re.sub(r'alttext="[^"]*"', "", mathml(latex))
    with pytest.raises(ValueError, match="no MathML"):
        mathml(r"\nosuchcommand")


def test_a_sentence_is_no_formula():
    assert formula_or_prose("W_2 is a premetric") == "<p>W_2 is a premetric</p>"
    assert formula_or_prose("for $x<1$") == f"<p>for {mathml('x<1', display=False)}</p>"
    assert formula_or_prose(r"\exp_x(t\log_xy)").startswith("<math")
    assert formula_or_prose(r"\mathrm{arg\,min}_P \text{ of the cost}").startswith("<math")
    assert "&lt;" in prose("a < b")


# The page


def test_page_is_closed_in_itself(html):
    reader = Reader(html)
    assert html.startswith("<!DOCTYPE html>")
    assert len(reader.ids) == len(set(reader.ids))
    assert {link.removeprefix("#") for link in reader.links} <= set(reader.ids)
    assert all(resource.startswith("data:") for resource in reader.resources)
    for word in ("<script src", "@import", "url(", "<link"):
        assert word not in html
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in reader.tags


def test_page_shows_every_formula_with_its_source_and_residuals(html, parts):
    reader = Reader(html)
    plain = re.sub(r"<[^>]*>", "", html).replace("&quot;", '"').replace("&#39;", "'").replace("&#x27;", "'")
    for item in parts[0].items:
        assert item.id in reader.ids
        for function in item.functions:
            assert f"def {function.__name__}(" in plain
        for check in parts[0].results[item.id].checks:
            assert check.oracle in plain
            assert f"{check.residual:.1e}" in plain
            for control in check.controls:
                assert control.variant in plain.replace("&gt;", ">")
    assert "numpy, float32" in plain
    assert f"{audit.count(parts)}." in plain


def test_misprints_come_first_with_their_numbers(html, parts):
    assert html.index('id="misprints"') < html.index('id="WFM-2"')
    top = html[html.index('id="misprints"') : html.index("<article")]
    result = next(
        control
        for check in parts[0].results["WFM-2"].checks
        for control in check.controls
        if control.variant.startswith("as printed")
    )
    assert f"{result.residual:.1e}" in top
    for misprint in ("E2", "E4", "E5", "E18"):
        assert f"<h3>{misprint}</h3>" in top


def test_pictures(html, monkeypatch):
    pytest.importorskip("matplotlib")
    assert Reader(html).count("img") == sum(id in pictures.PICTURES for id in SOME)
    assert pictures.svg(pictures.PICTURES["WFM-8"]) == pictures.svg(pictures.PICTURES["WFM-8"])
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    assert "refwfm[figures]" in pictures.figure("WFM-8")
    assert pictures.figure("WFM-9") == ""


@pytest.mark.parametrize("id", pictures.PICTURES)
def test_every_picture_can_be_drawn(id):
    pytest.importorskip("matplotlib")
    assert pictures.svg(pictures.PICTURES[id]).startswith("<?xml")


def test_failures_are_shown(parts):
    result = parts[0].results["WFM-10"]
    broken = result._replace(
        checks=tuple(check._replace(ok=False, note="failed: <no luck>") for check in result.checks)
    )
    part = parts[0]._replace(results={**parts[0].results, "WFM-10": broken})
    text = page([part], seed=0)
    assert "failed: &lt;no luck&gt;" in text
    assert "<no luck>" not in text
    assert '<p class="lead bad">' in text


def test_verify_writes_it(tmp_path):
    path = tmp_path / "audit.html"
    result = refwfm("verify", "--only", "WFM-10", "--report", path)
    assert result.exit_code == 0, result.output
    assert "WFM-10" in path.read_text(encoding="utf-8")
    missing = refwfm("verify", "--only", "WFM-10", "--report", tmp_path / "none" / "audit.html")
    assert missing.exit_code == 2
    assert "no folder" in missing.stderr


# In a browser

MEASURE = """<script>
addEventListener("load", () => {
  const sizes = [...document.querySelectorAll("math")].map((m) => m.getBoundingClientRect());
  parent.postMessage([document.documentElement.scrollWidth, sizes.length,
    sizes.filter((s) => s.width > 4 && s.height > 4).length].join(" "), "*");
});
</script></body>"""
FRAME = """<!DOCTYPE html><title>-</title><p id="out"></p><script>
addEventListener("message", (event) => { document.getElementById("out").textContent = event.data; });
</script><iframe width="WIDTH" height="800" style="border: 0" src="page.html"></iframe>"""


@pytest.mark.parametrize("width", [390, 1280])
def test_in_chromium_formulas_are_drawn_and_nothing_overflows(html, tmp_path, width):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    (tmp_path / "page.html").write_text(html.replace("</body>", MEASURE), encoding="utf-8")
    (tmp_path / "frame.html").write_text(FRAME.replace("WIDTH", str(width)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update"]
    options += [
        "--disable-background-networking",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]
    options += ["--virtual-time-budget=10000", "--dump-dom", (tmp_path / "frame.html").as_uri()]
    dom = subprocess.run([browser, *options], capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<p id="out">(\d+) (\d+) (\d+)</p>', dom)
    assert found, dom
    wide, formulas, drawn = map(int, found.groups())
    assert wide <= width
    assert formulas == drawn > len(SOME)
