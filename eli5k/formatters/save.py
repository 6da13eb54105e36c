"""Save explanations as a picture or page, by the file's name."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from eli5k.base import Explanation
from eli5k.formatters.image import draw_picture, format_as_image
from eli5k.formatters.page import page_with_shards
from eli5k.formatters.panels import Look
from eli5k.options import optional_keywords, shows_keywords
from eli5k.whole_files import written_beside

# Mark by which a program can tell later that eli5k made a file.
MAKER = "eli5k"
_MARK = Image.Exif()
_MARK[ExifTags.Base.Software] = MAKER
# Pillow's options for each format. JPEG and PDF have no transparency. To compress a PNG of a
# photograph as much as can be takes six times as long as this, for 4 % of its size.
PICTURES: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG", "compress_level": 4, "exif": _MARK},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0, "exif": _MARK},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0, "exif": _MARK},
    ".webp": {"format": "WEBP", "lossless": True, "exif": _MARK},
    ".pdf": {"format": "PDF", "resolution": 150.0, "producer": MAKER},
}
OPAQUE = ("JPEG", "PDF")
PAGES = (".html", ".htm")


OF_PICTURES = optional_keywords(format_as_image)
OF_PAGES = optional_keywords(page_with_shards)


@shows_keywords(*OF_PICTURES, *OF_PAGES)
def save(
    explanations: Explanation | Sequence[Explanation],
    path: str | os.PathLike[str],
    *,
    caption: bool = True,
    **look: Any,
) -> Path:
    """Save explanations in the format that the name of the file tells.

    Parameters
    ----------
    explanations : Explanation or sequence of Explanation
        Several become one sheet, or one page. A page of more than 2,000 pictures has their data in
        a folder beside it: ``why_files`` for ``why.html``.
    path : path
        Its name ends with .png, .jpg, .jpeg, .webp, .pdf or .html. An existing file is replaced
        once the new one is complete.
    caption : bool
        Tell name, score, probability, method and layer below the picture; otherwise the picture is
        what :func:`~eli5k.format_as_image` returns.
    **look
        Other keywords of :func:`~eli5k.format_as_image`, or of :func:`~eli5k.format_as_page` for a
        page.

    Returns
    -------
    pathlib.Path
        The written file.

    Raises
    ------
    TypeError, ValueError
        As :func:`~eli5k.format_as_image`; also if the name has another ending, or if there is no
        explanation.
    OSError
        If the file can't be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from eli5k.base import TargetExplanation
    >>> target = TargetExplanation("cat", heatmap=np.eye(7))
    >>> expl = Explanation("net", targets=[target], image=Image.new("RGB", (64, 48)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(expl, folder + "/why.jpg", style="boxes").name
    'why.jpg'
    """
    found = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    if not found:
        raise ValueError("explanations must have at least one explanation. Received: none")
    path = Path(path)
    options = PICTURES.get(path.suffix.lower())
    is_page = path.suffix.lower() in PAGES
    if is_page or options is not None:
        _check_keywords(look, OF_PAGES if is_page else OF_PICTURES, path.suffix)
    if is_page:
        return _save_page(found, path, look)
    if options is None:
        endings = ", ".join([*PICTURES, *PAGES])
        raise ValueError(f"path must end with {endings}. Received: {os.fspath(path)!r}")
    for expl in found:
        if expl.error and expl.image is None:
            raise ValueError(f"An explanation has no picture to save: {expl.error}")
    picture = draw_picture(found, Look(caption=caption, **look))
    if options["format"] in OPAQUE:
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture).convert("RGB")
    with written_beside(path) as file:
        picture.save(file, **options)
    return path


def _check_keywords(look: dict[str, Any], known: Sequence[inspect.Parameter], ending: str) -> None:
    names = [each.name for each in known]
    for name in look:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.62)
            raise TypeError(
                f"save takes no {name}= for a file that ends with {ending}. "
                + (f"Did you mean {near[0]}=?" if near else f"It takes: {', '.join(names)}")
            )


def _save_page(found: Sequence[Explanation], path: Path, look: dict[str, Any]) -> Path:
    folder = path.with_name(f"{path.stem}_files")

    def write(name: str, text: str) -> None:
        folder.mkdir(exist_ok=True)
        with written_beside(folder / name) as file:
            file.write(text.encode("utf-8"))

    page = page_with_shards(found, folder.name, write, **look)
    with written_beside(path) as file:
        file.write(page.encode("utf-8"))
    return path
