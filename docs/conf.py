"""How Sphinx builds the documentation; without a network, and with warnings as errors."""

import os
import shutil
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER.parent), str(FOLDER / "_ext"), str(FOLDER)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import eli5k  # noqa: E402

# Sphinx reads no page from outside of its folder.
for notebook, page in (("tutorial", "tutorial"), ("keras-image-classifiers", "eli5-tutorial")):
    shutil.copyfile(FOLDER.parent / "notebooks" / f"{notebook}.ipynb", FOLDER / f"{page}.ipynb")

project = "eli5k"
author = "eli5k maintainers"
project_copyright = "2026, eli5k maintainers"
version = release = eli5k.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "mathml",
    "methods_table",
    "accessible",
]
exclude_patterns = ["_build", "benchmarks/*", "requirements.txt"]
# These are included in pages.
exclude_patterns += ["eli5-facts.rst", "eli5-applications.rst"]
templates_path = ["_templates"]
python_use_unqualified_type_names = True

# The notebook brings the outputs with which it was committed.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]

autosummary_generate = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_attributes_as_param_list = True

# Links to other sites are not followed: the documentation is built without a network. What is
# checked are the links to pages, headings and names of its own, of which a wrong one is a warning.
nitpicky = True
nitpick_ignore_regex = [(r"py:.*", r"(?!eli5k).*"), (r"py:.*", r"eli5k\.keras\.model\..*")]
linkcheck_ignore = [r"https?://.*"]

html_theme = "furo"
html_title = f"eli5k {release}"
html_static_path = ["_static"]
html_css_files = ["pictures.css"]
html_math_renderer = "mathml"
html_show_sphinx = False
html_copy_source = False
