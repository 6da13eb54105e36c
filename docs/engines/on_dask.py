"""Explain picture files on Dask: python on_dask.py MODEL FOLDER RESULTS."""

import sys
from pathlib import Path

import dask.dataframe
import pandas
import pyarrow

from eli5k.keras import ExplainBatch
from eli5k.keras.store.rows import schema


def explain(model, files, results, options=None):
    explain_batch = ExplainBatch(str(model), options)

    def explain_partition(rows):
        return explain_batch(rows).to_pandas()

    rows = pandas.DataFrame({"image": [str(file) for file in files]})
    rows = dask.dataframe.from_pandas(rows, npartitions=-(-len(rows) // 250))
    columns = schema(pyarrow.string())
    explained = rows.map_partitions(explain_partition, meta=columns.empty_table().to_pandas())
    explained.to_parquet(str(results), schema=columns, write_index=False)


if __name__ == "__main__":
    model, folder, results = sys.argv[1:]
    explain(model, sorted(Path(folder).rglob("*.jpg")), results)
