"""A decoding process, as seen by its user."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

from PIL import Image

from eli5k.decoder import Answer, Settings

# Seconds that a process has to start, on a machine that is busy.
START = 120
# Seconds that a process has to end itself before it is killed.
GRACE = 2
# Environment of the processes. Otherwise glibc returns its memory after each picture and gets it
# again page by page, which took a third of the time for photographs.
ENVIRONMENT = {
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
COMMAND = "import sys; sys.path[:] = sys.argv[1:]; from eli5k.decoder import serve; serve()"


class DecodingError(OSError):
    """Error: a picture could not be decoded; the message says why."""


# A picture, an error or what was passed on, and the warnings about it: category and message.
Decoded = tuple[Any, Sequence[tuple[type[Warning], str]]]


class Process:
    """A process that decodes one picture at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # multiprocessing would run the user's script again, which may load TensorFlow.
        self._process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ENVIRONMENT},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._answers: IO[bytes] = self._process.stdout

    @property
    def is_ended(self) -> bool:
        return self._process.returncode is not None

    def wait_for_start(self) -> None:
        try:
            self._ask(self._settings, START)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            raise RuntimeError(
                "A process to decode pictures could not be started: python -c 'import "
                f"eli5k.decoder' {how_ended(self.end())}. See what it wrote to standard error."
            ) from error

    def decode(self, source: Any) -> Decoded:
        answer = self._ask(source, self._settings.timeout + GRACE)
        if answer.error is not None:
            return DecodingError(answer.error), ()
        pixels = bytearray(answer.length)
        if self._answers.readinto(pixels) != answer.length:  # type: ignore[attr-defined]
            raise EOFError
        return Image.frombytes(answer.mode, answer.size, pixels), answer.warnings

    def _ask(self, what: Any, seconds: float) -> Answer:
        pickle.dump(what, self._requests, protocol=5)
        self._requests.flush()
        if hasattr(select, "poll"):  # Not on Windows, where processes only end themselves.
            poll = select.poll()
            poll.register(self._answers, select.POLLIN)
            if not poll.poll(1000 * seconds):
                self._process.kill()
        answer: Answer = pickle.load(self._answers)
        return answer

    def kill(self) -> None:
        self._process.kill()

    def end(self) -> int:
        """End the process if it still runs; return its exit status."""
        self.kill()
        code = self._process.wait()
        self._answers.close()
        # Closing sends the rest.
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        return code


def how_ended(code: int) -> str:
    """Tell in words how a process has ended.

    Examples
    --------
    >>> how_ended(3), how_ended(-9)
    ('exit status 3', 'killed by SIGKILL')
    """
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit status {code}"
