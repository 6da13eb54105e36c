"""The recipe for Spark gives each picture's rows once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.engines.folder import RECIPES, assert_explained, make_folder

DRIVER = Path(__file__).with_name("drive_spark.py")


def test_spark_explains_each_picture_once(tmp_path):
    files = make_folder(tmp_path, 12)
    results = tmp_path / "results"
    arguments = [RECIPES / "on_spark.py", tmp_path / "model.keras", files[0].parent, results]
    command = [sys.executable, DRIVER, *arguments]
    # Spark's workers, and the name of this machine, which Java would look up elsewhere.
    own = {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "HOME": str(tmp_path)}
    subprocess.run(list(map(str, command)), check=True, timeout=300, env=os.environ | own)
    assert_explained(results, 12)
