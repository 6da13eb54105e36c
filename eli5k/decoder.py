"""Decode pictures in a separate process, which may hang or crash.

A worker of :mod:`eli5k.keras.decoding`. It imports no Keras, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib.util
import os
import pickle
import signal
import warnings
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from PIL import Image, ImageFile

from eli5k.pixels import fitted_picture, open_picture

# Limit of address space: enough for Pillow's largest picture, too little to exhaust the machine.
MEMORY = 4 << 30
# Channels, height and width of a picture.
Form = tuple[int | None, int | None, int | None]


class Settings(NamedTuple):
    """What the worker must know of the process that it decodes for.

    Attributes
    ----------
    timeout : float
        Seconds for each picture.
    form : tuple of int or None, or None
        Channels, height and width, as :func:`~eli5k.pixels.fitted_picture` takes them; None to
        leave pictures as they are.
    largest : int or None
        ``PIL.Image.MAX_IMAGE_PIXELS``
    takes_truncated : bool
        ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES``
    plugins : tuple of bytes
        Pickled arguments of ``PIL.Image.register_open``, for formats that Pillow lacks.
    """

    timeout: float
    form: Form | None
    largest: int | None
    takes_truncated: bool
    plugins: tuple[bytes, ...]


class Answer(NamedTuple):
    """What became of a picture; its bytes follow.

    Attributes
    ----------
    error : str or None
    mode : str
    size : tuple of int
    length : int
        Number of bytes that follow.
    warnings : list of (type, str)
    """

    error: str | None
    mode: str = ""
    size: tuple[int, int] = (0, 0)
    length: int = 0
    warnings: Any = ()


def serve() -> None:
    """Decode what comes through standard input, until it ends.

    The first thing to come are :class:`Settings`; each other one is a path, or the content of a
    file. An :class:`Answer` to each goes to standard output.
    """
    # Ctrl-C is for the process that waits for this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # A decoder's own output must not get between the answers.
    os.dup2(2, 1)
    settings: Settings = pickle.load(requests)
    _limit()
    Image.MAX_IMAGE_PIXELS = settings.largest
    ImageFile.LOAD_TRUNCATED_IMAGES = settings.takes_truncated
    Image.init()
    for plugin in settings.plugins:
        with contextlib.suppress(ImportError, AttributeError):
            Image.register_open(*pickle.loads(plugin))
    _send(answers, Answer(None))
    with open(os.devnull, "w") as nowhere:
        for source in _loaded(requests):
            # It ends the process from a thread that needs nothing of Python. Whoever waits for the
            # answer may be gone by then.
            faulthandler.dump_traceback_later(settings.timeout, exit=True, file=nowhere)
            answer, pixels = _decoded(source, settings.form)
            _send(answers, answer, pixels)
            faulthandler.cancel_dump_traceback_later()


def plugins() -> tuple[bytes, ...]:
    """Return the formats registered with Pillow that aren't its own.

    Examples
    --------
    >>> plugins()
    ()
    """
    Image.init()
    found = []
    for name, opener in Image.OPEN.items():
        modules = {getattr(part, "__module__", "") for part in opener if part is not None}
        # The worker has another __main__.
        if "__main__" not in modules and not all(each.startswith("PIL.") for each in modules):
            with contextlib.suppress(AttributeError, pickle.PicklingError):
                found.append(pickle.dumps((name, *opener)))
    return tuple(found)


def _limit() -> None:
    """Make a picture fail that needs too much memory.

    Otherwise the machine would run out of memory.
    """
    # If memory runs out all the same, Linux ends this process first.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if importlib.util.find_spec("resource"):  # Not on Windows.
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def _loaded(requests: IO[bytes]) -> Iterator[Any]:
    with contextlib.suppress(EOFError):
        while True:
            yield pickle.load(requests)


def _decoded(source: Any, form: Form | None) -> tuple[Answer, bytes]:
    with warnings.catch_warnings(record=True, action="always") as caught:
        try:
            picture = open_picture(source)
            if form is not None:
                picture = fitted_picture(picture, *form)
            pixels = picture.tobytes()
        except (OSError, MemoryError, ValueError) as error:
            return Answer(f"{type(error).__name__}: {error}"), b""
    said = [(each.category, str(each.message)) for each in caught]
    return Answer(None, picture.mode, picture.size, len(pixels), said), pixels


def _send(answers: IO[bytes], answer: Answer, pixels: bytes = b"") -> None:
    answers.write(pickle.dumps(answer))
    answers.write(pixels)
    answers.flush()
