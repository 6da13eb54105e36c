"""Explain picture files on Spark: spark-submit on_spark.py MODEL FOLDER RESULTS."""

import sys
from pathlib import Path

import pyarrow
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema

from eli5k.keras import ExplainBatch
from eli5k.keras.store.rows import schema


def explain(spark, model, files, results, options=None):
    explain_batch = ExplainBatch(str(model), options)

    def explain_batches(batches):
        for batch in batches:
            yield from explain_batch(batch).to_batches()

    rows = spark.createDataFrame([(str(file),) for file in files], "image string")
    rows = rows.repartition(-(-len(files) // 250))
    columns = from_arrow_schema(schema(pyarrow.string()))
    rows.mapInArrow(explain_batches, columns).write.parquet(str(results))


if __name__ == "__main__":
    model, folder, results = sys.argv[1:]
    explain(SparkSession.builder.getOrCreate(), model, sorted(Path(folder).rglob("*.jpg")), results)
