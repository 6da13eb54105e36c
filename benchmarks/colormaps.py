"""Measure how well each colormap shows heat over photographs.

    python benchmarks/colormaps.py

On 20 photographs of ImageNet, which come with foolbox, heat is laid over every pixel as
``format_as_image`` does it. Columns, as distances in CIELAB, where 2.3 is just noticed:

* ``hot``: between the photograph and full heat; the tenth of pixels that shows it least.
* ``steps``: between half and full heat, likewise: whether warm can be told from hot.
* ``haze``: between the photograph and a tenth of the heat, the median: what should not be seen.

Each is the worst of full colour vision and of vision without red or green cones (Machado 2009).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

COLORMAPS = ("viridis", "inferno", "magma", "plasma", "cividis", "turbo", "jet", "hot", "Greys")
LIMIT = 0.65
SEEN_AS = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green cones": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def photographs() -> list[np.ndarray]:
    """(pixels, 3) of each photograph, in [0, 1]."""
    spec = find_spec("foolbox")
    if spec is None or spec.origin is None:
        raise SystemExit("foolbox is not installed: pip install --group benchmarks")
    found = []
    for path in sorted((Path(spec.origin).parent / "data").glob("imagenet_*.jpg")):
        small = Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BOX)
        found.append(np.asarray(small).reshape(-1, 3) / 255)
    return found


def lab(colours: np.ndarray, seen_as: np.ndarray) -> np.ndarray:
    """(pixels, 3) in CIELAB, as somebody sees them."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ seen_as.T, 0, 1)
    xyz = linear @ TO_XYZ.T / (TO_XYZ @ np.ones(3))
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1
    )


def laid_over(pixels: np.ndarray, name: str, heat: float) -> np.ndarray:
    colour = np.array(matplotlib.colormaps[name](heat)[:3])
    alpha = min(heat, LIMIT)
    return alpha * colour + (1 - alpha) * pixels


def measure(name: str, photos: list[np.ndarray]) -> dict[str, float]:
    """The columns of one colormap."""
    worst: dict[str, list[float]] = {"hot": [], "steps": [], "haze": []}
    for seen_as in SEEN_AS.values():
        distances: dict[str, list[np.ndarray]] = {key: [] for key in worst}
        for pixels in photos:
            bare, faint, half, full = (
                lab(laid_over(pixels, name, heat), seen_as) for heat in (0.0, 0.1, 0.5, 1.0)
            )
            for key, one, other in (
                ("hot", bare, full),
                ("steps", half, full),
                ("haze", bare, faint),
            ):
                distances[key].append(np.linalg.norm(one - other, axis=-1))
        for key in ("hot", "steps"):
            worst[key].append(float(np.quantile(np.concatenate(distances[key]), 0.1)))
        worst["haze"].append(float(np.median(np.concatenate(distances["haze"]))))
    return {"hot": min(worst["hot"]), "steps": min(worst["steps"]), "haze": max(worst["haze"])}


if __name__ == "__main__":
    photos = photographs()
    print(f"{len(photos)} photographs")
    print(f"{'':10}{'hot':>8}{'steps':>8}{'haze':>8}")
    for name in COLORMAPS:
        print(f"{name:10}" + "".join(f"{each:8.1f}" for each in measure(name, photos).values()))
