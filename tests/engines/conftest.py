"""Engines have an environment of their own: elsewhere there is nothing to test."""

import importlib.util
import shutil

collect_ignore = [
    file
    for engine, files in (
        (
            "ray",
            tuple(
                f"{kind}_{name}.py"
                for kind in ("test", "drive")
                for name in ("ray", "explain_on_ray", "tables_on_ray")
            ),
        ),
        ("pyspark", ("test_spark.py", "drive_spark.py")),
        ("dask", ("test_dask.py",)),
        ("tensorboard", ("test_tensorboard.py",)),
    )
    if importlib.util.find_spec(engine) is None
    for file in files
]
# Spark needs Java besides.
if shutil.which("java") is None:
    collect_ignore.append("test_spark.py")
