"""Run the recipe for Ray on the loopback: drive_ray.py RECIPE MODEL FOLDER RESULTS PROCESSES."""

import os
import runpy
import sys
from pathlib import Path

import ray

from eli5k.options import Options

if __name__ == "__main__":
    recipe, model, folder, results, processes = sys.argv[1:]

    def scaled(pixels):
        """Tell in a file which process was at work."""
        Path(processes, str(os.getpid())).touch()
        return pixels / 127.5 - 1

    # One processor more than workers, for reading and writing.
    ray.init(
        address="local",
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100_000_000,
        _node_ip_address="127.0.0.1",
    )
    # Else the first worker would be through before the second one is there.
    ray.data.DataContext.get_current().wait_for_min_actors_s = 120
    explain = runpy.run_path(recipe)["explain"]
    options = Options(targets=[2, 0], preprocess=scaled, batch_size=4)
    explain(model, sorted(Path(folder).iterdir()), results, options, workers=2)
    ray.shutdown()
