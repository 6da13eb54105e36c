"""A comparison is collected only if the other library is installed: see tox.ini."""

import importlib.util

collect_ignore = [
    file
    for file, library in (
        ("test_against_eli5.py", "eli5"),
        ("test_against_explainers.py", "captum"),
        ("test_against_keras_hub.py", "keras_hub"),
        ("test_metrics_against_explainers.py", "captum"),
        ("test_metrics_against_quantus.py", "quantus"),
    )
    if importlib.util.find_spec(library) is None
]
