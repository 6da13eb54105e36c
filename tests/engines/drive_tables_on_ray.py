"""Explain a table and archives on Ray: drive_tables_on_ray.py FOLDER."""

import sys
from pathlib import Path

from eli5k.keras.engines.cluster import Demand, connected
from eli5k.keras.engines.on_ray import explain_on_ray

if __name__ == "__main__":
    place = Path(sys.argv[1])

    def scaled(pixels):
        return pixels / 127.5 - 1

    common = {"workers": 2, "preprocess": scaled, "rows_per_part": 8, "progress": False}
    sources = {
        "table": (place / "pictures.parquet", {"key": "id", "targets_column": "label"}),
        "archives": (place / "shards", {"targets_column": "cls"}),
    }
    # One start of Ray for all.
    with connected(None, Demand(workers=2)):
        for name, (source, more) in sources.items():
            for _ in range(2):
                how = common | more
                counts = explain_on_ray(place / "model.keras", source, place / name, **how)
                print(name, counts.explained, counts.rows, counts.errors, flush=True)
