"""Explain picture files on Ray Data: python on_ray.py MODEL FOLDER RESULTS."""

import sys
from pathlib import Path

import ray

from eli5k.keras import ExplainBatch


def explain(model, files, results, options=None, workers=2):
    rows = ray.data.from_items([{"image": str(file)} for file in files])
    # Small blocks: with a few large ones, most workers would wait.
    rows = rows.repartition(max(4 * workers, len(files) // 250))
    explained = rows.map_batches(
        ExplainBatch,
        fn_constructor_args=(str(model), options),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    )
    explained.write_parquet(str(results))


if __name__ == "__main__":
    model, folder, results = sys.argv[1:]
    explain(model, sorted(Path(folder).rglob("*.jpg")), results)
