"""Open pictures as a model sees them, without importing Keras."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from eli5k.base import ExplanationWarning, warn

SIXTEEN_BITS = "I;16"
# Modes of pictures by number of channels.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# Readers of files that aren't pictures, by the end of their names.
READERS = {
    ".dcm": "pydicom.dcmread(path).pixel_array",
    ".nii": "nibabel.load(path).get_fdata()",
    ".gz": "nibabel.load(path).get_fdata()",
    ".nrrd": "nrrd.read(path)[0]",
    ".mha": "SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))",
    ".wav": "scipy.io.wavfile.read(path)[1]",
    ".flac": "soundfile.read(path)[0]",
    ".mp3": "soundfile.read(path)[0]",
    ".edf": "mne.io.read_raw_edf(path).get_data()",
    ".mat": "scipy.io.loadmat(path)",
    ".npz": "numpy.load(path)",
    ".csv": "numpy.loadtxt(path, delimiter=',')",
    ".mp4": "imageio.v3.imread(path)",
    ".avi": "imageio.v3.imread(path)",
    ".mov": "imageio.v3.imread(path)",
}


def open_picture(source: Any) -> Image.Image:
    """Open a picture upright, with 8 bits per channel.

    Parameters
    ----------
    source : PIL.Image.Image, path, bytes or binary file
        A picture, or the place, the content or the open file of one. An open file is left where it
        was.

    Returns
    -------
    PIL.Image.Image
        A copy in mode L, RGB or RGBA. The mode decides how a picture of more bits is scaled, never
        its largest value: 16 bits by 65535, 32-bit integers likewise, floats by 1.

    Warns
    -----
    ExplanationWarning
        If the mode has no fixed range, such as "F" and "I".

    Raises
    ------
    OSError
        If the file is missing, damaged, too large or not a picture; the message names it.
    TypeError
        If ``source`` is none of these.

    Examples
    --------
    >>> open_picture(Image.new("I;16", (2, 2), 65535)).getpixel((0, 0))
    255
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return open_picture(io.BytesIO(source))
    is_file = isinstance(source, str | os.PathLike) or hasattr(source, "read")
    if not (is_file or isinstance(source, Image.Image)):
        raise TypeError(
            "image must be a Pillow image, a path to an image file, its bytes or an open one. "
            f"Received: {type(source).__name__}"
        )
    name = _name_of(source)
    if name.startswith(("http://", "https://")) and isinstance(source, str):
        raise FileNotFoundError(
            f"{name}: an address is no path. Pass what it gives: urllib.request.urlopen({name!r})"
        )
    start = source.tell() if is_file and _can_seek(source) else None
    try:
        if isinstance(source, Image.Image):
            return _upright(source, name)
        with Image.open(source) as file:
            return _upright(file, name)
    except Warning:
        # Pillow has read the picture in spite of its warnings; the user may turn them into errors.
        raise
    except UnidentifiedImageError as error:
        advice = READERS.get(os.path.splitext(name)[1].lower())
        hint = f". Read it with {advice}, and pass the array" if advice else ""
        raise UnidentifiedImageError(f"{name or 'the bytes'}: not a picture{hint}") from error
    # Broad, because a damaged file makes Pillow raise whatever its parsers run into: SyntaxError,
    # struct.error, RuntimeError, NotImplementedError, MemoryError, KeyError and more. Nothing but
    # Pillow is at work here, and one bad file must not end a run over thousands.
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = str(error) if type(error) is OSError else f"{type(error).__name__}: {error}"
        raise OSError(f"{name or 'the picture'}: broken image file ({reason})") from error
    finally:
        if start is not None:
            source.seek(start)


def fitted_picture(
    picture: Image.Image, channels: int | None, height: int | None, width: int | None
) -> Image.Image:
    """Convert a picture to a model's mode and size.

    Parameters
    ----------
    picture : PIL.Image.Image
        As :func:`open_picture` returns it.
    channels : int or None
        1, 3 or 4; None for grey if the picture is, else RGB.
    height, width : int or None
        None for the picture's own.

    Examples
    --------
    >>> fitted_picture(Image.new("L", (9, 9)), 3, 4, None).size
    (9, 4)
    """
    mode = MODES[channels] if channels is not None else "L" if picture.mode == "L" else "RGB"
    size = (width or picture.width, height or picture.height)
    pixels = picture if picture.mode == mode else picture.convert(mode)
    return pixels if pixels.size == size else pixels.resize(size, Image.Resampling.BILINEAR)


def _can_seek(source: Any) -> bool:
    """Tell whether an open file can seek, unlike one from a network."""
    if hasattr(source, "seekable"):
        return bool(source.seekable())
    return hasattr(source, "seek") and hasattr(source, "tell")


def _name_of(source: Any) -> str:
    """Return the path of a picture's file, or an empty string."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "filename", "") or getattr(source, "name", "")
    return str(name) if isinstance(name, str | os.PathLike) else ""


def _upright(source: Image.Image, name: str) -> Image.Image:
    """Decode a picture and copy it in mode L, RGB or RGBA."""
    picture = ImageOps.exif_transpose(source)
    if picture.mode.startswith(("I", "F")):
        return _to_eight_bits(picture, name)
    if picture.mode in ("L", "RGB", "RGBA"):
        return picture
    if picture.mode == "1":
        return picture.convert("L")
    has_alpha = picture.mode in ("LA", "La", "PA", "RGBa") or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def _to_eight_bits(picture: Image.Image, name: str) -> Image.Image:
    """Scale a picture of more bits to 0..255, according to its mode."""
    values = np.asarray(picture).astype("float64")
    if picture.mode.startswith(SIXTEEN_BITS):
        white = 65535.0
    else:
        white = 1.0 if picture.mode == "F" else 65535.0
        finite = values[np.isfinite(values)]
        found = f", here from {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
        warn(
            f"{name}{': ' if name else ''}A picture of mode {picture.mode!r} has no fixed range: "
            f"its values{found}, were read as going from 0 to {white:.0f}. If they go further, "
            "pass an array instead.",
            ExplanationWarning,
        )
    scaled = 255 * np.clip(np.nan_to_num(values / white), 0, 1)
    return Image.fromarray(scaled.round().astype("uint8"))
