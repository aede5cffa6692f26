"""How the documentation is built: `make docs`, where a warning is an error."""

project = "taskrunner"
author = "The taskrunner maintainers"
copyright = "2026, the taskrunner maintainers"  # noqa: A001  Sphinx wants this name
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False, "show-inheritance": True}
autodoc_typehints = "signature"
exclude_patterns = ["_build"]
nitpicky = False
html_theme = "furo"
html_title = "taskrunner"
html_static_path = ["_static"]
html_css_files = ["tables.css"]
