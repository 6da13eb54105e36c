"""Kinds of documents besides pictures: signals, texts, volumes and clips."""

from __future__ import annotations

import keras

from eli5k.keras.model.structure import walk
from eli5k.keras.model.survey import Survey

SIGNAL, TEXT, VOLUME, CLIP = "signal", "text", "volume", "clip"
# They take the frames of a clip one after another.
FRAME_BY_FRAME = (
    *(keras.layers.TimeDistributed, keras.layers.RNN),
    *(keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D),
)
COLOURS = 3


def kind_of(model: keras.Model, survey: Survey) -> str | None:
    """Tell the kind of a model's explained input.

    Parameters
    ----------
    model : keras.Model
    survey : Survey

    Returns
    -------
    str or None
        "signal", "text", "volume" or "clip"; None for a picture. A text is what an ``Embedding``
        reads. A clip has colours, or a layer that takes its frames one after another.
    """
    if survey.image_index in survey.embeddings:
        return TEXT
    axes = len(survey.picture_grid)
    if axes == 1:
        return SIGNAL
    if axes == 2:
        return None
    in_colour = survey.image_shape[1 if survey.channels_first else -1] == COLOURS
    is_clip = in_colour or any(isinstance(layer, FRAME_BY_FRAME) for _, layer in walk(model))
    return CLIP if is_clip else VOLUME
