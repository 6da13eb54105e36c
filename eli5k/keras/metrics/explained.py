"""Explain the samples of a run for a metric."""

from __future__ import annotations

import warnings

from eli5k.base import ExplanationWarning
from eli5k.keras.attribution import explain_samples
from eli5k.keras.evidence.run import Attribution, Run, on_whole_picture
from eli5k.options import MethodLike


def explained(run: Run, method: MethodLike) -> Attribution:
    """Explain the samples of a run, with maps over the whole picture.

    What a single map warns of is not about the metric, and is not shown.

    Parameters
    ----------
    run : Run
    method : str or callable

    Returns
    -------
    Attribution
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExplanationWarning)
        answer = explain_samples(run, method)
    return on_whole_picture(answer, run.survey.picture_grid)
