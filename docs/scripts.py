"""Scripts as pages: the gallery as it is, the chapters of the course in Sphinx-Gallery's words.

A Sphinx extension. It also writes formulas as MathML, which browsers render without a script from a network.
"""

import ast
import os
import re
from pathlib import Path
from typing import Any, NoReturn

from docutils import nodes
from sphinx_gallery.scrapers import figure_rst

from refwfm.validation.formulas import mathml

ROOT = Path(__file__).resolve().parents[1]
BUILT = ROOT / "docs" / "_build"
COURSE = BUILT / "course"
"""The chapters, translated."""

PICTURES = BUILT / "pictures"
"""Where the scripts save their pictures (``refwfm.paper_figures.drawing.show``)."""

os.environ["REFWFM_PICTURES"] = str(PICTURES)

HEADER = """\
Course
======

Eight chapters from sorting numbers to learning families of distributions: text, code that ran when this page
was built, and its pictures. Each chapter has five :doc:`exercises </exercises>`, which ``refwfm check``
judges. Every page can be downloaded as a notebook.
"""

MARKS = re.compile(
    r"\$\$(?P<display>.+?)\$\$|\$(?P<math>.+?)\$|`(?P<code>[^`]+)`|\*\*(?P<exercise>[Ee]xercises?\s[^*]+)\*\*",
    re.DOTALL,
)
"""What Markdown writes otherwise than reStructuredText."""


def rst(text: str) -> str:
    """Markdown of the course, without its ``# `` at the beginning of lines, as reStructuredText."""
    text = MARKS.sub(_mark, text)
    text = re.sub(r"^# (.+)$", lambda found: f"{found[1]}\n{'=' * len(found[1])}", text, flags=re.MULTILINE)
    return re.sub(r"^## (.+)$", lambda found: f"{found[1]}\n{'-' * len(found[1])}", text, flags=re.MULTILINE)


def _mark(found: re.Match[str]) -> str:
    if found["display"]:
        return f".. math:: {' '.join(found['display'].split())}"
    if found["exercise"]:
        return re.sub(r"\d+", lambda number: f":ref:`{number[0]} <ex-{number[0]:0>2}>`", found["exercise"])
    marked = f"``{found['code']}``" if found["code"] else f":math:`{found['math']}`"
    # A letter behind the mark would make it none.
    return marked + ("\\ " if found.string[found.end() : found.end() + 1].isalnum() else "")


def chapter(text: str) -> str:
    """Translate a script with cells of Markdown: the first becomes its docstring."""
    _, *cells = re.split(r"^# %%", text, flags=re.MULTILINE)
    first, *others = [_prose(cell) or cell.lstrip("\n") for cell in cells]
    translated = [f'r"""\n{first}\n"""\n']
    for cell, kind in zip(others, cells[1:], strict=True):
        if _prose(kind) is None:
            translated.append(cell)
        else:
            translated.append("# %%\n" + "".join(f"# {line}".rstrip() + "\n" for line in cell.splitlines()))
    return "\n".join(translated)


def _prose(cell: str) -> str | None:
    """ReStructuredText of a cell, if it holds Markdown."""
    if not cell.startswith(" [markdown]"):
        return None
    return rst("\n".join(line[2:] for line in cell.splitlines()[1:] if line.startswith("#")))


def write_course(app: Any) -> None:
    """Translate all chapters; a chapter that is as it was will not run again."""
    COURSE.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    (COURSE / "GALLERY_HEADER.rst").write_text(HEADER)
    for path in sorted((ROOT / "course").glob("[0-9]*.py")):
        translated = chapter(path.read_text())
        ast.parse(translated)
        (COURSE / path.name).write_text(translated)


def pictures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Take the pictures that a cell has saved to its page."""
    saved = sorted(PICTURES.glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    places = [str(path.replace(next(block_vars["image_path_iterator"]))) for path in saved]
    return str(figure_rst(places, gallery_conf["src_dir"]))


def in_line(writer: Any, node: nodes.math) -> NoReturn:
    """Write a formula in a line."""
    writer.body.append(mathml(node.astext(), display=False))
    raise nodes.SkipNode


def on_its_own(writer: Any, node: nodes.math_block) -> NoReturn:
    """Write a formula that has lines of its own."""
    writer.body.append(f'<div class="math">{mathml(node.astext())}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("builder-inited", write_course, priority=100)  # before Sphinx-Gallery looks for scripts
    app.add_html_math_renderer("mathml", (in_line, None), (on_its_own, None))
    return {"parallel_read_safe": True}
