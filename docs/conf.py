"""How the documentation is built: ``python -m sphinx -W docs docs/_build/html``. Nothing is read from the network."""

import sys
from pathlib import Path

import refwfm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

project = "refwfm"
author = "The refwfm developers"
version = release = refwfm.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "Thumbs.db"]
html_theme = "furo"
html_title = f"refwfm {release}"
html_show_sourcelink = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_typehints = "none"  # shapes stand in the docstrings; every array is `Any`
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
add_module_names = False
