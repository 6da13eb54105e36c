"""Tell what a document is if it is no picture: a signal, a text, a volume or a clip."""

from __future__ import annotations

import keras

from eli5k.keras.model.interface import input_specs, is_image_model, takes_images
from eli5k.keras.model.structure import walk
from eli5k.keras.model.survey import Survey

SIGNAL, TEXT, VOLUME, CLIP = "signal", "text", "volume", "clip"
# They take the frames of a clip one after another.
FRAME_BY_FRAME = (
    *(keras.layers.TimeDistributed, keras.layers.RNN),
    *(keras.layers.ConvLSTM1D, keras.layers.ConvLSTM2D, keras.layers.ConvLSTM3D),
)
COLOURS = 3
OF_OTHER_RANKS = (
    *FRAME_BY_FRAME,
    *(keras.layers.Conv1D, keras.layers.Conv3D, keras.layers.Embedding),
)


def is_of_other_rank(model: keras.Model) -> bool:
    """Tell whether a model has layers for signals, texts, volumes or clips.

    Examples
    --------
    >>> is_of_other_rank(keras.Sequential([keras.layers.Conv1D(2, 3)]))
    True
    """
    if any(isinstance(layer, OF_OTHER_RANKS) for _, layer in walk(model)):
        return True
    # A spectrogram inside a model of sounds.
    return is_image_model(model) and bool(input_specs(model)) and not takes_images(model)


def kind_of(model: keras.Model, survey: Survey) -> str | None:
    """Tell what the explained input of a model is.

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
    shape = survey.input_shapes[survey.image_index]
    in_colour = shape[1 if survey.channels_first else -1] == COLOURS
    is_clip = in_colour or any(isinstance(layer, FRAME_BY_FRAME) for _, layer in walk(model))
    return CLIP if is_clip else VOLUME
