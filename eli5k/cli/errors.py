"""What can go wrong, and the one line that says so."""

from __future__ import annotations

import struct
import sys
import textwrap
import zipfile
import zlib

FAILURE = 2
LONGEST_REASON = 1000  # characters

# Exceptions of others: of a decoder for a broken file, of a model for a picture that doesn't fit,
# and of a user's function for anything.
_RAISED_BY_OTHERS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
# Their text is a sentence; that of others, such as a KeyError, is nothing without their name.
_SAY_WHAT_HAPPENED = (OSError, TypeError, ValueError, RuntimeError, ImportError)


class UserError(Exception):
    """A user's mistake; the message is shown as one line."""


class PictureError(RuntimeError):
    """A file cannot be used as a picture; the message says why."""


def raised_by_others() -> tuple[type[Exception], ...]:
    """Exceptions to expect from code that is not this package's.

    Returns
    -------
    tuple of type
        Those of Python's own operations and, once it is imported, TensorFlow's, which derive from
        none of them. The other backends raise RuntimeErrors.

    Examples
    --------
    >>> issubclass(KeyError, raised_by_others()), issubclass(UserError, raised_by_others())
    (True, False)
    """
    tensorflow = sys.modules.get("tensorflow")
    return _RAISED_BY_OTHERS + (() if tensorflow is None else (tensorflow.errors.OpError,))


def reason_of(error: Exception) -> str:
    """Return the message of an exception in one line.

    Examples
    --------
    >>> reason_of(ValueError("too small")), reason_of(KeyError("mean"))
    ('too small', "KeyError: 'mean'")
    """
    text = textwrap.shorten(str(error), LONGEST_REASON, placeholder=" ...")
    is_sentence = text and isinstance(error, _SAY_WHAT_HAPPENED)
    return text if is_sentence else f"{type(error).__name__}: {text}".rstrip(": ")
