"""Watch a model learn where to look: a callback for ``fit``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from eli5k.base import BlankMapWarning, Explanation, ExplanationWarning
from eli5k.formatters import format_as_image
from eli5k.formatters.panels import Look, panels_of
from eli5k.formatters.sheet import draw_sheet
from eli5k.keras.stream import explain_predictions
from eli5k.whole_files import written_beside


class ExplainCallback(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped.
    """Explain the same documents again and again while a model is trained.

    They are explained once before the training, so that a mistake shows at once, and then at the
    end of epochs. The training itself isn't changed, nor are any random numbers drawn for it.

    Parameters
    ----------
    docs : array, path, iterable or data set
        A few documents, as :func:`eli5k.explain_predictions` takes them.
    path : path, optional
        A PNG file of all maps so far, with a row for each explained epoch. It is replaced once the
        new one is complete.
    every : int
        Explain once in this many epochs, at their end.
    rows : int
        Maximum number of rows. When the sheet is full, every second row is dropped, except for the
        first and the last.
    log_dir : path, optional
        The folder that ``keras.callbacks.TensorBoard`` writes to. The maps are written beside its
        scalars with the same steps, as images of a run named "explanations".
    **options
        Other keywords of :func:`eli5k.explain_predictions`, such as ``targets``.

    Attributes
    ----------
    explanations : list of Explanation
        The newest. Warnings about them are shown before the training, and later only stand in
        their ``warnings``.

    Raises
    ------
    ImportError
        If ``log_dir`` is given and TensorFlow or TensorBoard is missing.
    TypeError
        If ``every`` or ``rows`` is no whole number, or a keyword is unknown.
    ValueError
        If one of them is too small, if ``path`` doesn't end with .png, or, when the training
        begins, if a document can't be explained.

    Examples
    --------
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
    >>> layers += [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="ones")]
    >>> model = keras.Sequential(layers)
    >>> model.compile(loss="mse")
    >>> watch = ExplainCallback(np.ones((2, 8, 8, 1)), targets=[2])
    >>> _ = model.fit(np.ones((4, 8, 8, 1)), np.ones((4, 3)), callbacks=[watch], verbose=0)
    >>> watch.labels
    ['before training', 'epoch 1']
    >>> watch.sheet.height > watch.sheet.width
    True
    """

    def __init__(
        self,
        docs: Any,
        path: str | os.PathLike[str] | None = None,
        *,
        every: int = 1,
        rows: int = 24,
        log_dir: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        for name, value, least in (("every", every, 1), ("rows", rows, 2)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be a whole number. Received: {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}. Received: {value}")
        # Fail now, not after the first epoch.
        missing = [each for each in ("tensorflow", "tensorboard") if find_spec(each) is None]
        if log_dir is not None and missing:
            raise ImportError(
                "log_dir= needs what keras.callbacks.TensorBoard needs: pip install "
                f"{' '.join(missing)}. Without it, pass path= for a sheet in a file."
            )
        self.path = None if path is None else Path(path)
        if self.path is not None and self.path.suffix.lower() != ".png":
            raise ValueError(f"path must end with .png. Received: {os.fspath(self.path)!r}")
        # An iterator would be empty at the second epoch.
        self.docs = list(docs) if isinstance(docs, Iterator) else docs
        self.every, self.rows, self.log_dir = every, rows, log_dir
        self.options = {"progress": False, **options}
        self.explanations: list[Explanation] = []
        self._rows: list[tuple[str, Image.Image]] = []
        self._images: _Images | None = None

    @property
    def labels(self) -> list[str]:
        """What the rows of the sheet are called, from top to bottom."""
        return [label for label, _ in self._rows]

    @property
    def sheet(self) -> Image.Image:
        """All maps so far in one picture, in mode RGB."""
        strips = [strip for _, strip in self._rows]
        width, height = max(each.width for each in strips), sum(each.height for each in strips)
        sheet = Image.new("RGB", (width, height), "white")
        top = 0
        for strip in strips:
            sheet.paste(strip, (0, top))
            top += strip.height
        return sheet

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Explain the untrained model, unless an earlier training has rows already."""
        del logs
        if self.log_dir is not None:
            self._images = _Images(self.log_dir)
        if not self._rows:
            self._explain()
            self._add_row("before training", [])

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Explain the model if it is the epoch's turn."""
        if (epoch + 1) % self.every:
            return
        self._explain()
        self._add_row(f"epoch {epoch + 1}", _numbers(logs or {}))
        if self._images is not None:
            self._images.write(self.explanations, epoch)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Close the file of TensorBoard."""
        del logs
        if self._images is not None:
            self._images.close()

    def _explain(self) -> None:
        model: Any = self.model
        if hasattr(model, "jax_state_sync"):
            # On JAX the weights of the training so far are held outside of the model.
            model.jax_state_sync()
        with warnings.catch_warnings():
            # Blank maps are usual in training, and warnings about the documents were given before.
            warnings.simplefilter("ignore", ExplanationWarning if self._rows else BlankMapWarning)
            self.explanations = list(explain_predictions(model, self.docs, **self.options))
        if not self.explanations:
            raise ValueError("docs must have at least one document. Received: none")
        for number, expl in enumerate(self.explanations):
            if expl.error:
                raise ValueError(
                    f"Document {number} of docs can't be explained: {expl.error} Pass another one."
                )

    def _add_row(self, label: str, numbers: list[str]) -> None:
        panels, shared, _ = panels_of(self.explanations, Look(caption=True))
        strip = draw_sheet(panels, [label, *numbers, *shared], columns=len(panels))
        self._rows.append((label, strip.convert("RGB")))
        if len(self._rows) > self.rows:
            del self._rows[1:-1:2]
        if self.path is not None:
            with written_beside(self.path) as file:
                self.sheet.save(file, "PNG")


def _numbers(logs: Mapping[str, Any]) -> list[str]:
    return [f"{name} {float(value):.4g}" for name, value in logs.items() if np.ndim(value) == 0]


class _Images:
    """Images for TensorBoard, by the module that Keras' own callback writes with."""

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        folder = os.fspath(log_dir)
        self._summary = keras.callbacks.TensorBoard(folder).summary
        self._writer = self._summary.create_file_writer(os.path.join(folder, "explanations"))

    def write(self, explanations: list[Explanation], step: int) -> None:
        """Write a picture of each explanation."""
        with self._writer.as_default():
            for number, expl in enumerate(explanations):
                pixels = np.asarray(format_as_image(expl, caption=True).convert("RGB"))
                name = f"{number} {expl.source}" if expl.source else str(number)
                self._summary.image(name, pixels[np.newaxis], step=step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
