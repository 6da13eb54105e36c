"""Run the recipe for Spark on the loopback: drive_spark.py RECIPE MODEL FOLDER RESULTS."""

import runpy
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from eli5k.options import Options

if __name__ == "__main__":
    recipe, model, folder, results = sys.argv[1:]

    def scaled(pixels):
        return pixels / 127.5 - 1

    here = "127.0.0.1"
    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.driver.host", here)
        .config("spark.driver.bindAddress", here)
        .config("spark.ui.enabled", "false")
        .config("spark.driver.memory", "512m")
        .config("spark.sql.warehouse.dir", str(Path(results).parent / "warehouse"))
        .getOrCreate()
    )
    explain = runpy.run_path(recipe)["explain"]
    options = Options(targets=[2, 0], preprocess=scaled, batch_size=4)
    explain(spark, model, sorted(Path(folder).iterdir()), results, options)
    spark.stop()
