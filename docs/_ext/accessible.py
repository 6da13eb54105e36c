"""Add to the built pages what the theme leaves out for those who use a keyboard or a screen reader.

Code and tables that scroll sideways can be reached by Tab, headings of the navigation have a level,
the two columns beside a page have names, and an empty corner of a table is no heading.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx

# Each is left alone once it is as it should be: a page that was not built anew keeps its text.
MENDED = {
    "<pre>": '<pre tabindex="0">',
    r'<div class="table-wrapper([^"]*)">': r'<div class="table-wrapper\1" tabindex="0">',
    r'<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="All pages">',
    '<aside class="toc-drawer([^"]*)">': r'<aside class="toc-drawer\1" aria-label="This page">',
    r'<th class="head"(?: scope="col")?></th>': '<td class="head"></td>',
}


def mend(app: Sphinx, failure: Exception | None) -> None:
    if failure or app.builder.format != "html":
        return
    for file in Path(app.outdir).rglob("*.html"):
        before = after = file.read_text("utf-8")
        for wrong, right in MENDED.items():
            after = re.sub(wrong, right, after)
        if after != before:
            file.write_text(after, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("build-finished", mend)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
