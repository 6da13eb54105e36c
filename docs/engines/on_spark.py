"""Explain picture files on Spark: spark-submit on_spark.py MODEL FOLDER RESULTS."""

import sys
from pathlib import Path

from pyspark.sql import SparkSession

from eli5k.keras import ExplainBatch

COLUMNS = (
    "key string, target int, name string, score float, probability float, layer string, "
    "method string, map binary, map_shape array<int>, map_scale float, frame array<float>, "
    "error string"
)


def explain(spark, model, files, results, options=None):
    explain_batch = ExplainBatch(str(model), options)

    def explain_batches(batches):
        for batch in batches:
            yield from explain_batch(batch).to_batches()

    rows = spark.createDataFrame([(str(file),) for file in files], "image string")
    rows = rows.repartition(-(-len(files) // 250))
    rows.mapInArrow(explain_batches, COLUMNS).write.parquet(str(results))


if __name__ == "__main__":
    model, folder, results = sys.argv[1:]
    explain(SparkSession.builder.getOrCreate(), model, sorted(Path(folder).rglob("*.jpg")), results)
