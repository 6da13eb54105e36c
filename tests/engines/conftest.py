"""Engines have an environment of their own: elsewhere there is nothing to test."""

import importlib.util

collect_ignore = [
    file
    for engine, files in (
        ("ray", ("test_ray.py", "drive_ray.py")),
        ("dask", ("test_dask.py",)),
        ("tensorboard", ("test_tensorboard.py",)),
    )
    if importlib.util.find_spec(engine) is None
    for file in files
]
