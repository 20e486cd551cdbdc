"""The gallery: every script says a claim, draws one picture and asserts its number; the course as pages."""

import ast
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from zlib import crc32

import pytest
from thirds import THOROUGH

from refwfm.transport.programme import POT_ALONE

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "gallery").glob("*/*.py"))
CHAPTERS = sorted((ROOT / "course").glob("[0-9]*.py"))
TRAINS = {"spiral_training"}
"""Scripts that take more than a few seconds."""

QUICK = sorted((p for p in SCRIPTS if p.stem not in TRAINS), key=lambda path: crc32(path.stem.encode()))
each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)


def faults(text, name):
    """What a script of the gallery lacks."""
    tree = ast.parse(text)
    lines = (ast.get_docstring(tree) or "").splitlines() + 3 * [""]
    if len(lines[0].split()) < 3 or lines[0].endswith("."):
        yield "a claim for a title"
    if lines[1] != "=" * len(lines[0]) or lines[2] or not lines[3]:
        yield "a line under the title, and text"
    if "\n# %%\n# " not in text:
        yield "cells with comments"
    shown = re.findall(r"^show\(figure, \"(.*)\"\)$", text, re.MULTILINE)
    if shown != [name]:
        yield "one picture of its name"
    if not any(isinstance(node, ast.Assert) for node in tree.body):
        yield "its number, asserted"
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = import_module(node.module)
            for each in node.names:
                if not hasattr(module, each.name):
                    try:
                        import_module(f"{node.module}.{each.name}")
                    except ImportError:
                        yield f"{node.module}.{each.name}"


def test_there_are_enough_and_no_name_is_there_twice():
    assert len(SCRIPTS) >= 20
    names = [path.stem for path in (*SCRIPTS, *CHAPTERS)]
    assert len(set(names)) == len(names)
    assert {path.stem for path in SCRIPTS} >= TRAINS
    assert all((folder / "GALLERY_HEADER.rst").is_file() for folder in {path.parent for path in SCRIPTS})


@each_script
def test_well_formed(path):
    assert not list(faults(path.read_text(), path.stem))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("A straight line of covariances", "Swelling", "under the title"),
        ('show(figure, "swelling")', "", "one picture"),
        ("\nassert ", "\n# assert ", "asserted"),
        ("bare, ellipse", "bear, ellipse", "drawing.bear"),
        ("# %%", "#", "cells"),
    ],
)
def test_what_a_script_lacks_is_noticed(old, new, fault):
    text = (ROOT / "gallery" / "1_gaussians" / "swelling.py").read_text()
    assert old in text
    assert any(fault in found for found in faults(text.replace(old, new), "swelling"))


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS if THOROUGH else QUICK[:2], ids=lambda path: path.stem)
def test_scripts_run(path, tmp_path):
    """All where all is asked; else two that are the same in every run."""
    environment = {**os.environ, **POT_ALONE, "MPLBACKEND": "Agg", "REFWFM_PICTURES": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-W", "error", path], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert [found.name for found in tmp_path.iterdir()] == [f"{path.stem}.png"]


# Chapters of the course as pages


@pytest.fixture(scope="module")
def scripts():
    pytest.importorskip("sphinx_gallery")
    sys.path.insert(0, str(ROOT / "docs"))
    before = os.environ.get("REFWFM_PICTURES")
    yield import_module("scripts")
    sys.path.remove(str(ROOT / "docs"))
    if before is None:
        del os.environ["REFWFM_PICTURES"]


@pytest.mark.parametrize(
    ("markdown", "rst"),
    [
        ("# A title", "A title\n======="),
        ("## Weights", "Weights\n-------"),
        ("of $n$ points, $x$s", r"of :math:`n` points, :math:`x`\ s"),
        ("$$a\n=b$$", ".. math:: a =b"),
        ("say `refwfm check`", "say ``refwfm check``"),
        ("**exercises 9 and 10**", "exercises :ref:`9 <ex-09>` and :ref:`10 <ex-10>`"),
        ("(**exercise\n11**)", "(exercise\n:ref:`11 <ex-11>`)"),
        ("a **map**, *the* one", "a **map**, *the* one"),
    ],
)
def test_markdown_becomes_rst(scripts, markdown, rst):
    assert scripts.rst(markdown) == rst


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_keep_their_code(scripts, path):
    translated = scripts.chapter(path.read_text())
    was, is_now = (
        ast.dump(ast.Module(ast.parse(text).body[1:], [])) for text in (path.read_text(), translated)
    )
    assert is_now == was
    assert "$" not in re.sub(r'f?".*?"', "", translated)
