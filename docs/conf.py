"""How the documentation is built: ``python -m sphinx -W docs docs/_build/html``, without a network."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

import refwfm

sys.path.insert(0, str(Path(__file__).parent))  # scripts.py

project = "refwfm"
author = "The refwfm developers"
copyright = f"2026, {author}"
version = release = refwfm.__version__
extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"),
    *("scripts", "sphinx_gallery.gen_gallery"),
]
html_math_renderer = "mathml"
sphinx_gallery_conf = {
    "examples_dirs": ["../gallery", "_build/course"],
    "gallery_dirs": ["gallery", "course"],
    "filename_pattern": "",
    "within_subsection_order": "FileNameSortKey",
    "nested_sections": False,
    "image_scrapers": "scripts.pictures",
    "capture_repr": (),
    "abort_on_example_error": True,
    "doc_module": "refwfm",
    "backreferences_dir": "gallery/uses",
    "log_level": {"backreference_missing": "debug"},
    "show_signature": False,
    "download_all_examples": False,
    "write_computation_times": False,
}
templates_path = ["_templates"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"refwfm {release}"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # shapes stand in the docstrings; every array is `Any`
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_param = False  # types are words here, such as "mean (..., d)", and lead nowhere
napoleon_use_ivar = True  # attributes of named tuples have entries of their own
add_module_names = False
suppress_warnings = ["ref.python"]  # for the same reason: words in the types of attributes


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out aliases of types, and what a package takes from modules that have a page of their own."""
    page = app.env.docname.rpartition("/")[2]
    home = str(getattr(obj, "__module__", None) or page)
    elsewhere = home != page and not any(part.startswith("_") for part in home.split("."))
    if isinstance(obj, ModuleType) or get_origin(obj) is not None or (what == "module" and elsewhere):
        return True
    return None


def setup(app: Any) -> None:
    """Sphinx calls this."""
    app.connect("autodoc-skip-member", skip)
