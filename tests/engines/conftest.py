"""Engines have an environment of their own: elsewhere there is nothing to test."""

import importlib.util

collect_ignore = [
    f"test_{engine}.py" for engine in ("ray", "dask") if importlib.util.find_spec(engine) is None
]
