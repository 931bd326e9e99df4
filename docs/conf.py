"""The site: `make docs` builds it from the pages beside this file, offline, and every warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

import prefect_lifespan

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

project = "prefect-lifespan"
version = release = prefect_lifespan.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "_llms"]
exclude_patterns = ["_*"]
default_role = "code"  # what docstrings put between single backticks
html_theme = "furo"
html_title = f"prefect-lifespan {release}"
html_show_sourcelink = False
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # as they are on a page of the repository

# Names of other projects are no links: the build asks no network for where they are told of.
# Nor are type variables, nor types inside the library that only stand in a signature.
nitpick_ignore_regex = [(r"py:.*", r"(?!prefect_lifespan\b).*"), (r"py:class", r".*\.[A-Z]")]
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
napoleon_use_rtype = False
