"""The recipe for Dask gives each picture's rows once."""

from __future__ import annotations

import runpy

import dask

from eli5k.options import Options
from tests.engines.folder import RECIPES, TARGETS, assert_explained, make_folder, scaled


def test_threads_explain_each_picture_once(tmp_path):
    files = make_folder(tmp_path, 12)
    explain = runpy.run_path(str(RECIPES / "on_dask.py"))["explain"]
    options = Options(targets=TARGETS, preprocess=scaled, batch_size=4)
    with dask.config.set(scheduler="threads", num_workers=2):
        explain(tmp_path / "model.keras", files, tmp_path / "results", options)
    assert_explained(tmp_path / "results", 12)
