"""The recipe for Ray gives each picture's rows once, from two workers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.engines.folder import RECIPES, assert_explained, make_folder

DRIVER = Path(__file__).with_name("drive_ray.py")
# Ray must report to nobody.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}


def test_two_workers_explain_each_picture_once(tmp_path):
    results, processes = tmp_path / "results", tmp_path / "processes"
    processes.mkdir()
    files = make_folder(tmp_path, 40)
    arguments = [RECIPES / "on_ray.py", tmp_path / "model.keras", files[0].parent, results]
    command = [sys.executable, DRIVER, *arguments, processes]
    # What Ray starts ends with the process that started it, also if that is killed here.
    environment = os.environ | QUIET | {"HOME": str(tmp_path)}
    subprocess.run(list(map(str, command)), check=True, timeout=300, env=environment)
    assert len(list(processes.iterdir())) == 2
    assert_explained(results, 40)
