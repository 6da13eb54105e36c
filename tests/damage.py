"""Picture files of every format that Pillow writes and reads here, and damaged copies of them."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

SIZE = (24, 18)
MODES = ("RGB", "P", "1")
# The sizes of an icon are its own.
OTHER_SIZES = ("ICNS", "ICO")


@functools.cache
def written(file_format: str, mode: str = "") -> bytes:
    """A picture of noise in a format, by default in the first mode that it takes."""
    pixels = np.random.default_rng(5).integers(0, 256, (SIZE[1], SIZE[0], 3), "uint8")
    for each in [mode] if mode else MODES:
        file = io.BytesIO()
        try:
            Image.fromarray(pixels).convert(each).save(file, file_format)
        except (OSError, ValueError):
            continue
        return file.getvalue()
    return b""


@functools.cache
def formats() -> tuple[str, ...]:
    """The formats whose pictures may have any size."""
    Image.init()
    names = sorted(Image.OPEN.keys() & Image.SAVE.keys() - set(OTHER_SIZES))
    return tuple(name for name in names if _is_read_here(name))


def _is_read_here(name: str) -> bool:
    """EPS, for one, takes a program that may be missing."""
    try:
        Image.open(io.BytesIO(written(name))).load()
    except OSError:
        return False
    return True


def damaged_files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield a format and a damaged file: cut, with flipped, zeroed, doubled or missing bytes."""
    generator = np.random.default_rng(seed)
    names = (*formats(), *OTHER_SIZES)
    for number in range(count):
        file_format = names[number % len(names)]
        content = np.frombuffer(written(file_format), "uint8").copy()
        # Half of the damage is in the header, where it matters most.
        end = min(len(content), 64) if generator.random() < 0.5 else len(content)
        places = generator.integers(0, end, generator.integers(1, 9))
        match number % 5:
            case 0:
                content = content[: places[0] + 1]
            case 1:
                content[places] = generator.integers(0, 256, len(places))
            case 2:
                content[places[0] : places[0] + 16] = 0
            case 3:
                content = np.insert(content, places, content[places])
            case 4:
                content = np.delete(content, places)
        yield file_format, content.tobytes()
