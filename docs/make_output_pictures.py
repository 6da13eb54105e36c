"""Make the pictures of the pages about outputs, with the code that is on them.

    python docs/make_output_pictures.py

Run it again after a change of what explanations look like, and commit what changed.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import textwrap

from make_pictures import FOLDER, IMAGES, paper_of_the_page, reduced, save
from PIL import Image

PAGES = ("regression", "multi-label", "several-outputs", "embeddings", "picture-and-text")
BLOCK = re.compile(r"^\.\. code-block:: (python|pycon)\n\n((?: {3}.*\n|\n)+)", re.MULTILINE)


def run(page: str) -> None:
    """Run the code of a page in the working folder; what a console prints is left out."""
    space: dict = {"__name__": "__main__"}
    for language, body in BLOCK.findall((FOLDER / f"{page}.rst").read_text("utf-8")):
        code = textwrap.dedent(body)
        if language == "pycon":
            lines = (line for line in code.splitlines() if line.startswith((">>> ", "... ")))
            code = "\n".join(line[4:] for line in lines)
        exec(compile(code, page, "exec"), space)


def main() -> None:
    for page in PAGES:
        folder = tempfile.TemporaryDirectory()
        with paper_of_the_page(), folder as path, contextlib.chdir(path):
            run(page)
            with Image.open(f"{page}.png") as picture:
                save(reduced(picture.convert("RGBA"), 800), IMAGES / "outputs" / page)


if __name__ == "__main__":
    main()
