"""Decode pictures ahead of the model, in processes that may crash."""

from __future__ import annotations

import os
import pickle
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import keras
from PIL import Image, ImageFile

from eli5k.base import ExplanationWarning, warn
from eli5k.decoder import Form, Settings, plugins
from eli5k.keras.decoding_process import Decoded, DecodingError, Process, how_ended
from eli5k.keras.files import parts_of, path_of, plain
from eli5k.keras.model.interface import IMAGE_RANK, input_specs
from eli5k.keras.model.structure import has_channels_first
from eli5k.keras.preprocessing import preprocessor_of
from eli5k.picture_files import ARRAY
from eli5k.pixels import MODES

# How many processes a picture may crash.
TRIES = 2
# Pictures decoded ahead: of the model's size, and of any size.
AHEAD, AHEAD_LARGE = 64, 2

Item = TypeVar("Item")
# How many processes a picture has ended so far, from its position; called after each.
Ledger = Callable[[int], int]


class Decoder:
    """Processes that decode pictures, each picture alone: they may hang or die.

    A context manager; the processes start when they are needed, and end with the context.

    Parameters
    ----------
    form : tuple of int or None, or None
        Channels, height and width of the pictures, as :func:`form_of` finds them.
    workers : int, optional
        Number of processes; by default one for each core that this process may use.
    timeout : float
        Seconds for each picture.

    Raises
    ------
    ValueError
        If ``workers`` or ``timeout`` is not positive.

    Examples
    --------
    >>> from eli5k.demo import PHOTOS
    >>> with Decoder((3, 8, 8), workers=1) as decoder:
    ...     for position, picture in decoder.decode([PHOTOS["cat"], b"none"]):
    ...         print(position, picture)
    0 <PIL.Image.Image image mode=RGB size=8x8 at ...>
    1 UnidentifiedImageError: the bytes: not a picture
    """

    def __init__(
        self, form: Form | None = None, *, workers: int | None = None, timeout: float = 60.0
    ) -> None:
        count = core_count() if workers is None else workers
        if count < 1 or timeout <= 0:
            raise ValueError(
                "workers and timeout must be greater than 0. Received: "
                f"workers={workers}, timeout={timeout}"
            )
        settings = Settings(
            timeout, form, Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, plugins()
        )
        is_small = form is not None and None not in form[1:]
        self._ahead = max(AHEAD if is_small else 0, AHEAD_LARGE * count)
        self._pool = _Pool(count, settings)

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they decode."""
        self._pool.close()

    def decode(
        self, sources: Iterable[Any], *, ahead: int | None = None, ledger: Ledger | None = None
    ) -> Iterator[tuple[int, Any]]:
        """Decode pictures in order, some of them ahead.

        Parameters
        ----------
        sources : iterable
            Paths and contents of files, also in lists and dicts of several inputs. All else, such
            as arrays and ``.npy`` files, is passed on.
        ahead : int, optional
            How many pictures may be decoded before they are taken.
        ledger : callable, optional
            From the position of a picture that ended its process to the number of those that it has
            ended so far. By default only those of this call count.

        Yields
        ------
        position : int
        picture : PIL.Image.Image or DecodingError
            As :func:`~eli5k.pixels.open_picture` opens it. What ``sources`` raises comes after the
            pictures before it.

        Raises
        ------
        RuntimeError
            If no process can be started.
        """
        count = ledger or _counted()
        waiting: deque[tuple[int, Future[Decoded]]] = deque()
        remaining = enumerate(sources)
        while True:
            is_read = False
            try:
                for position, source in islice(remaining, (ahead or self._ahead) - len(waiting)):
                    waiting.append((position, self._pool.start(position, source, count)))
                is_read = True
            finally:
                # If the source failed, keep what came before.
                while waiting and not is_read:
                    yield _taken(*waiting.popleft())
            if not waiting:
                return
            yield _taken(*waiting.popleft())

    def decode_items(
        self,
        items: Iterable[Item],
        doc: Callable[[Item], Any],
        ledger: Callable[[Item], int] | None = None,
    ) -> Iterator[tuple[Item, Any]]:
        """Decode the documents of items that know more than that: keys, targets.

        Parameters
        ----------
        items : iterable
        doc : callable
            From an item to its document.
        ledger : callable, optional
            As in :meth:`decode`, from an item.

        Yields
        ------
        item : object
        picture : PIL.Image.Image or DecodingError

        Examples
        --------
        >>> with Decoder(workers=1) as decoder:
        ...     list(decoder.decode_items(["an array"], len))
        [('an array', 8)]
        """
        held: dict[int, Item] = {}

        def docs() -> Iterator[Any]:
            for position, item in enumerate(items):
                held[position] = item
                yield doc(item)

        count = None if ledger is None else lambda position: ledger(held[position])
        for position, picture in self.decode(docs(), ledger=count):
            yield held.pop(position), picture


def form_of(model: keras.Model) -> Form | None:
    """Return channels, height and width of the pictures that a model takes.

    Returns
    -------
    tuple of int or None, or None
        None if pictures must stay as they are: for several inputs, for one that takes no picture,
        and for a model that preprocesses its documents itself.

    Examples
    --------
    >>> form_of(keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Flatten()]))
    (3, 4, 6)
    """
    specs = list((input_specs(model) or {}).values())
    if len(specs) != 1 or preprocessor_of(model) is not None:
        return None
    sizes = list(specs[0].shape[1:])
    if len(sizes) == IMAGE_RANK - 2:
        sizes.append(1)
    elif has_channels_first(model):
        sizes.append(sizes.pop(0))
    if len(sizes) != IMAGE_RANK - 1 or sizes[-1] not in (None, *MODES):
        return None
    height, width, channels = sizes
    return channels, height, width


def core_count() -> int:
    """Return the number of cores that this process may use.

    Examples
    --------
    >>> core_count() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _counted() -> Ledger:
    ended: Counter[int] = Counter()

    def count(position: int) -> int:
        ended[position] += 1
        return ended[position]

    return count


def _taken(position: int, future: Future[Decoded]) -> tuple[int, Any]:
    picture, said = future.result()
    for category, message in said:
        if issubclass(category, ExplanationWarning):
            warn(message, category)
        else:
            warnings.warn(message, category)
    return position, picture


class _Pool:
    """Threads, each of which has a process for what it decodes."""

    def __init__(self, count: int, settings: Settings) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._own = threading.local()
        self._workers: list[Process] = []
        self._is_closed = False
        self._threads = ThreadPoolExecutor(count, "eli5k-decode")

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            for worker in self._workers:
                worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.end()

    def start(self, position: int, source: Any, ledger: Ledger) -> Future[Decoded]:
        source = plain(source)
        if _is_encoded(source):
            return self._threads.submit(self._decode, position, source, ledger)
        if any(_is_encoded(plain(part)) for part in parts_of(source).values()):
            return self._threads.submit(self._decode_parts, position, source, ledger)
        ready: Future[Decoded] = Future()
        ready.set_result((source, ()))
        return ready

    def _decode_parts(self, position: int, source: Any, ledger: Ledger) -> Decoded:
        """Decode the pictures among the inputs of one document."""
        decoded = parts_of(source)
        said: list[tuple[type[Warning], str]] = []
        for name, part in decoded.items():
            encoded = plain(part)
            if _is_encoded(encoded):
                decoded[name], about = self._decode(position, encoded, ledger)
                if isinstance(decoded[name], DecodingError):
                    return decoded[name], about
                said += about
        return decoded if isinstance(source, Mapping) else list(decoded.values()), said

    def _decode(self, position: int, source: Any, ledger: Ledger) -> Decoded:
        name = path_of(source) or f"document {position}"
        while True:
            worker = self._worker()
            start = time.monotonic()
            try:
                return worker.decode(source)
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):
                took = time.monotonic() - start
                code = worker.end()
            if took >= self._settings.timeout:
                reason = f"not decoded within {self._settings.timeout:g} s, its time limit"
                return DecodingError(f"TimeoutError: {name}: {reason}"), ()
            with self._lock:
                # Closing the pool ends its processes; their pictures are not to blame.
                ended = TRIES if self._is_closed else ledger(position)
            if ended >= TRIES:
                reason = f"decoding ended its process {ended} times ({how_ended(code)})"
                return DecodingError(f"ChildProcessError: {name}: {reason}"), ()

    def _worker(self) -> Process:
        """Return the process of this thread; a new one if it ended."""
        worker: Process | None = getattr(self._own, "worker", None)
        if worker is None or worker.is_ended:
            with self._lock:
                if self._is_closed:
                    raise RuntimeError("The pool is closed.")
                worker = self._own.worker = Process(self._settings)
                self._workers = [each for each in self._workers if not each.is_ended] + [worker]
            worker.wait_for_start()
        return worker


def _is_encoded(source: Any) -> bool:
    """Tell whether something is a picture file's path or content."""
    if isinstance(source, bytes | bytearray | memoryview):
        return True
    is_path = isinstance(source, str | os.PathLike)
    return is_path and not os.fspath(source).endswith(ARRAY)
