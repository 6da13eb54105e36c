"""Formats: functions from an explanation to a picture, HTML, text or dict."""

from eli5k.base import Explanation
from eli5k.formatters import fields
from eli5k.formatters.as_dict import format_as_dict
from eli5k.formatters.gallery import Explanations
from eli5k.formatters.hot_regions import HotRegion, hot_regions
from eli5k.formatters.html import format_as_html, format_html_styles
from eli5k.formatters.image import format_as_image
from eli5k.formatters.page import format_as_page
from eli5k.formatters.plot import plot
from eli5k.formatters.save import save
from eli5k.formatters.table import format_as_table
from eli5k.formatters.text import format_as_text

__all__ = [
    "Explanations",
    "HotRegion",
    "fields",
    "format_as_dict",
    "format_as_html",
    "format_as_image",
    "format_as_page",
    "format_as_text",
    "format_html_styles",
    "hot_regions",
    "plot",
    "save",
]

# As in eli5: an explanation that is a cell's last line shows itself.
Explanation._repr_html_ = format_as_html  # type: ignore[attr-defined]
Explanation.__str__ = format_as_table  # type: ignore[method-assign, assignment]
