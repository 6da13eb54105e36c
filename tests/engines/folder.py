"""A folder of pictures, and what must be known of each in the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet
from PIL import Image

from tests.close import assert_close
from tests.zoo import SHAPE, closed_form, functional, net_layers, noise

RECIPES = Path(__file__).parents[2] / "docs" / "engines"
TARGETS = [2, 0]


def make_folder(place: Path, count: int) -> list[Path]:
    """Write a model, pictures, and a file that is none; return the files to explain."""
    functional(net_layers()).save(place / "model.keras")
    pictures = place / "pictures"
    pictures.mkdir()
    for number, each in enumerate(_pixels(count)):
        Image.fromarray(each).save(pictures / f"{number:02}.png")
    (pictures / "broken.png").write_bytes(b"no picture")
    return sorted(pictures.iterdir())


def scaled(pixels):
    return pixels / 127.5 - 1


def assert_explained(results: Path, count: int) -> None:
    """Each picture has one row for each target, with its map; the broken one has its error."""
    rows = pyarrow.parquet.read_table(results).to_pylist()
    found = {(Path(row["key"]).stem, row["target"]): row for row in rows}
    assert len(found) == len(rows) == len(TARGETS) * count + 1
    assert "broken.png: not a picture" in found["broken", None]["error"]
    net = net_layers()
    for number, each in enumerate(_pixels(count)):
        for target in TARGETS:
            row = found[f"{number:02}", target]
            values = np.frombuffer(row["map"], "float16").reshape(row["map_shape"])
            expected = closed_form(net, scaled(each[np.newaxis]), target)
            assert_close(values * np.float64(row["map_scale"]), expected, tolerance=2**-10)


def _pixels(count: int) -> np.ndarray:
    return noise(count, *SHAPE, low=0, high=255).astype("uint8")
