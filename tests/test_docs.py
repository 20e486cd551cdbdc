"""What the README and the pages of docs/ tell: commands exist, code runs, pages made from code are current.

``PYTHONPATH=tests python -m test_docs`` writes the pages that are made from the code.
"""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest
from thirds import THOROUGH
from typer.main import get_command

import refwfm
from refwfm.cli import app, info
from refwfm.datasets import CATALOGUE, PAIRS, POPULATIONS
from refwfm.paper_figures import FIGURES
from refwfm.validation import ledger, mutations, shipped_models
from refwfm.validation.exercises import catalogue as course
from refwfm.validation.museum import catalogue

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
BLOCK = re.compile(
    r"(?:<!-- needs: (?P<needs>[^>]*) -->\n)?^```(?P<kind>sh|python)\n(?P<text>.*?)^```$", re.M | re.S
)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
NOTICED = "No such|valid integer|assert|nothing is called|No module named"
OTHERS = ("pip", "python", "pytest", "make")


def blocks(kind):
    return [
        pytest.param(found, id=f"{path.relative_to(ROOT)}-{number}")
        for path in PAGES
        for number, found in enumerate(BLOCK.finditer(path.read_text()))
        if found["kind"] == kind
    ]


def commands(text):
    """Words of each command, without comments and variables."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words:
            yield words


def parse(words):
    """Context of a command of ours: every option exists and every value is of its kind; nothing is run."""
    group = get_command(app)
    context = group.make_context("refwfm", list(words), resilient_parsing=False)
    while hasattr(context.command, "resolve_command"):
        name, command, rest = context.command.resolve_command(
            context, [*context._protected_args, *context.args]
        )
        context = command.make_context(name, rest, parent=context)
    return context


def check(words):
    if words[0] == "torchrun":
        words = words[words.index("-m") + 1 :]
    if words[0] == "refwfm":
        words = [word for word in words[1:] if word != "..."]
        values = parse(words).params
        if words[0] == "reproduce":
            assert values["name"] in FIGURES
        if words[0] == "bench":
            assert values["name"] in info.BENCHES
        if words[0] == "explain":
            assert ledger.search(values["what"], ledger.by_id())
        if words[0] == "museum" and values["id"]:
            assert catalogue.find(values["id"], catalogue.by_id())
        data = values.get("data")
        assert not data or {".", "/"} & set(str(data)) or str(data) in {*CATALOGUE, *PAIRS, *POPULATIONS}
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2])
        if words[2] == "refwfm.validation.mutations":
            assert {*words[3:]} <= {"bures", "transport.sinkhorn"}
            assert mutations.__file__
    else:
        assert words[0] in OTHERS
        for extras in re.findall(r"\[(\w+(?:,\w+)*)\]", " ".join(words)):
            assert set(extras.split(",")) <= set(EXTRAS)


@pytest.mark.parametrize("block", blocks("sh"))
def test_commands_and_their_options_exist(block):
    for words in commands(block["text"]):
        check(words)


@pytest.mark.parametrize(
    "line",
    [
        "refwfm trian --data niches",
        "refwfm train --dat niches",
        "refwfm train --steps many",
        "refwfm train --data nichse",
        "refwfm reproduce table-7",
        "refwfm explain zzzz",
        "python -m refwfm.validation.nothing",
        'pip install ".[figure]"',
        "rm -rf runs",
    ],
)
def test_what_is_wrong_is_noticed(line):
    # Typer brings its own copy of click since 0.20: the class of its errors has no name to import.
    with pytest.raises(Exception, match=NOTICED):
        check(next(commands(line)))


@pytest.mark.parametrize("block", blocks("python"))
def test_code_runs(block, tmp_path):
    for need in filter(None, map(str.strip, (block["needs"] or "").split(","))):
        if not (Path(need).exists() if "." in need else importlib.util.find_spec(need)):
            pytest.skip(f"needs {need}")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    result = subprocess.run(
        [sys.executable, "-c", block["text"]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


# The README


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert max(map(len, lines)) <= 120
    assert "<!-- newcomer: run -->" in lines
    assert "<!-- newcomer: test -->" in lines


def test_tables_of_formulas_name_functions_that_exist():
    text = (DOCS / "formulas.md").read_text()
    names = re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)+)`", text)
    assert len(names) > 50
    for name in names:
        module, _, function = name.rpartition(".")
        assert callable(getattr(importlib.import_module(f"refwfm.{module}"), function)), name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\((?!http)([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


# Pages that are made from the code


def misprints():
    """The page of misprints: each once, with the formulas that audit it."""
    found = {}
    for item in ledger.by_id().values():
        for each in item.misprints:
            found.setdefault((each.id, each.printed), (each, []))[1].append(item)
    order = sorted(found.values(), key=lambda pair: (int("0" + re.sub(r"\D", "", pair[0].id)), pair[0].id))
    lines = [
        "# Misprints",
        "",
        "Places where the printed formula cannot be what is meant: a sign, a factor, an index. The papers'",
        "results do not depend on them; whoever implements the text literally does. `refwfm verify` prints",
        "the residual of both readings against an oracle, `refwfm explain E1` shows one. This page is",
        "written by `PYTHONPATH=tests python -m test_docs`.",
        "",
    ]
    for each, items in order:
        places = ", ".join(dict.fromkeys(f"{item.id} ({item.paper}, {item.place})" for item in items))
        lines += [f"## {each.id}: {items[0].title}", "", places + ".", ""]
        lines += [
            f"- printed: {_marked(each.printed)}",
            f"- meant: {_marked(each.correct)}",
            "",
            each.note,
            "",
        ]
    return "\n".join(lines)


def _marked(text):
    from refwfm.validation.formulas import is_prose

    return text if is_prose(text) else f"${text}$"


def reference():
    """The page of modules: all that are public, but those of the command."""
    package = Path(refwfm.__file__).parent
    names = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        hidden = any(part.startswith("_") and part != "__init__" for part in parts)
        if "cli" not in parts and not hidden:
            names.append(".".join(parts).removesuffix(".__init__"))
    top = ["```{eval-rst}", ".. autosummary::", "   :toctree: api", "   :template: module.rst", ""]
    return "\n".join(["# Reference", "", *top, *(f"   {name}" for name in names), "```", ""])


def exercises():
    """The page of exercises: what each asks for, by chapter."""
    lines = [
        "# Exercises",
        "",
        "Five for each chapter of the {doc}`course <course/index>`. `refwfm check ex-01 --start mine.py`",
        "writes a file with the function to fill in, `refwfm check ex-01 mine.py` holds it against an oracle",
        "and names known mistakes, `refwfm check ex-01 --hint 1` helps. This page is written by",
        "`PYTHONPATH=tests python -m test_docs`.",
        "",
    ]
    for title in course.CHAPTERS:
        lines += [f"## {title}", ""]
        for each in course.chapter(title):
            lines += [f"({each.id})=", f"### {each.id}: {each.title}", ""]
            lines += [
                f"Formula {each.item}; held against {each.oracle}.",
                "",
                "```py",
                each.stub.strip(),
                "```",
                "",
            ]
    return "\n".join(lines)


MADE = {
    "exercises.md": exercises,
    "misprints.md": misprints,
    "models.md": shipped_models.page,
    "reference.md": reference,
}


@pytest.mark.parametrize("name", MADE)
def test_made_pages_are_current(name):
    assert (DOCS / name).read_text() == MADE[name](), "PYTHONPATH=tests python -m test_docs"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    """With the gallery and the course run where all is asked, else with their text and code alone."""
    for name in ("sphinx", "myst_parser", "furo", "sphinx_gallery"):
        pytest.importorskip(name)
    options = ("-W", "--keep-going", "-q", "-D", f"plot_gallery={int(THOROUGH)}", "-d", tmp_path / "trees")
    site = tmp_path / "html"
    result = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, DOCS, site],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "Bures" in (site / "api" / "refwfm.bures.html").read_text()
    assert "<math" in (site / "course" / "1_line.html").read_text()
    assert not list(dead_links(site))


def dead_links(site):
    """Links of a built site to files of its own that are not there."""
    for page in site.rglob("*.html"):
        for target in set(re.findall(r'(?:href|src)="([^"#?:]+)[^":]*"', page.read_text())):
            if not (page.parent / unquote(target)).exists():
                yield page.relative_to(site), target


def test_a_dead_link_is_noticed(tmp_path):
    (tmp_path / "a.html").write_text('<a href="a.html#top"><a href="https://elsewhere"><img src="b%20c.png">')
    assert [target for _, target in dead_links(tmp_path)] == ["b%20c.png"]
    (tmp_path / "b c.png").touch()
    assert not list(dead_links(tmp_path))


if __name__ == "__main__":
    for file, make in MADE.items():
        (DOCS / file).write_text(make())
