"""Read picture files into [H, W, C] uint8 arrays, the same way everywhere; every problem is one line that names the file."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import BmpImagePlugin, Image, ImageOps, JpegImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin, WebPImagePlugin

from toolkit.data.sample import Pixels
from toolkit.errors import DataError

Channels = Literal[1, 3]

MAX_PIXELS = 178_000_000
"""Pictures with more pixels are refused before they are decoded. Pillow itself refuses a little more than this."""

KINDS = "JPEG, PNG, WebP, BMP, TIFF or PGM/PPM"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm"})
"""Names that a data set takes for pictures when it lists a folder; what a file really holds is decided by its first bytes."""

_Opener = Callable[[io.BytesIO], Image.Image]
# Opened by these classes and not by Image.open, which warns about large pictures through a global that threads share.
_SIGNATURES: tuple[tuple[bytes, str, _Opener], ...] = (
    (b"\xff\xd8\xff", "JPEG", lambda file: JpegImagePlugin.jpeg_factory(file, "")),
    (b"\x89PNG\r\n\x1a\n", "PNG", PngImagePlugin.PngImageFile),
    (b"BM", "BMP", BmpImagePlugin.BmpImageFile),
    (b"II*\0", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"MM\0*", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"II+\0", "TIFF", TiffImagePlugin.TiffImageFile),
    (b"MM\0+", "TIFF", TiffImagePlugin.TiffImageFile),
    *((b"P" + digit, "PGM/PPM", PpmImagePlugin.PpmImageFile) for digit in (b"1", b"2", b"3", b"4", b"5", b"6")),
)
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"version https://git-lfs", "a Git LFS pointer"),
)
_ORIENTATION_TAG = 0x0112

_warnings_lock = threading.Lock()
"""Held while Pillow reads headers: it warns there, and `warnings.catch_warnings` is not made for threads. Decoding runs outside."""


def is_image_name(path: str | Path) -> bool:
    """Whether the name ends like a picture's (any case); hidden files (`._photo.jpg`) do not count.

    >>> is_image_name("cats/1.JPG"), is_image_name("labels.csv"), is_image_name("._1.jpg")
    (True, False, False)
    """
    path = Path(path)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def read_image(path: str | Path, channels: Channels = 3) -> Pixels:
    """The picture in a file, upright, as [H, W, channels] uint8; see `decode_image`.

    Raises: DataError naming the file, if it is missing, empty, damaged or no picture.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected a picture ({KINDS})") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder; expected a picture ({KINDS})") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected a picture ({KINDS})") from error
    return decode_image(data, str(path), channels)


def decode_image(data: bytes, name: str, channels: Channels = 3) -> Pixels:
    """The picture in `data` as [H, W, channels] uint8, RGB or grey.

    The format is told from the first bytes. EXIF rotation is applied. 16 bits are scaled to 8, not clipped; of several
    frames the first is taken; transparent parts show white; grey is ITU-R 601 luma. Numbers wider than 16 bits have no
    agreed range, so whole numbers that exceed 65535 are taken as 31 bits, and fractions as 0..1, 0..255 or 0..65535,
    the smallest of them that holds all values.

    Args:
        name: what messages call it, its path where it has one.

    Raises: DataError `name: what; expected ...`.
    """
    opener, kind = _opener(data, name)
    try:
        picture = _load_upright(opener, data, name, locked_decoding=kind == "TIFF")
        return _to_pixels(picture, name, channels)
    except DataError:
        raise
    except Image.DecompressionBombError:
        raise DataError(f"{name}: has too many pixels; expected at most {MAX_PIXELS:,}") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types for damaged data, from SyntaxError to struct.error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{name}: truncated or damaged {kind} ({reason}); expected a complete picture") from error


def write_png(path: str | Path, pixels: Pixels) -> None:
    """Write [H, W, C] uint8, C = 1 or 3, as PNG."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"a PNG needs [H, W, 1 or 3] uint8 pixels, got {list(pixels.shape)} {pixels.dtype}")
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path, format="PNG")


def _opener(data: bytes, name: str) -> tuple[_Opener, str]:
    if not data:
        raise DataError(f"{name}: is empty; expected a picture ({KINDS})")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImagePlugin.WebPImageFile, "WebP"
    for signature, kind, opener in _SIGNATURES:
        if data.startswith(signature):
            return opener, kind
    found = next((what for signature, what in _OTHERS if data.startswith(signature)), f"no picture (it starts with {data[:8]!r})")
    raise DataError(f"{name}: is {found}; expected {KINDS}")


def _load_upright(opener: _Opener, data: bytes, name: str, *, locked_decoding: bool) -> Image.Image:
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        picture = opener(io.BytesIO(data))
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise DataError(f"{name}: {width} x {height} is {width * height:,} pixels; expected at most {MAX_PIXELS:,}")
        if locked_decoding:  # TIFF warns while decoding too
            picture.load()
    picture.load()
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _upright(picture)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        rotated = picture.getexif().get(_ORIENTATION_TAG, 1) in range(2, 9)
    except Exception:  # damaged EXIF data say nothing about the pixels: viewers show such a picture as it is
        return picture
    return ImageOps.exif_transpose(picture) if rotated else picture


def _to_pixels(picture: Image.Image, name: str, channels: Channels) -> Pixels:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        grey = _scale_to_8_bits(np.asarray(picture), name)[:, :, None]
        return np.repeat(grey, channels, axis=2)
    wanted = "L" if channels == 1 else "RGB"
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    elif picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")  # palettes, CMYK, YCbCr, Lab
    pixels = np.array(picture.convert(wanted) if picture.mode != wanted else picture)
    return pixels[:, :, None] if channels == 1 else pixels


def _scale_to_8_bits(values: np.ndarray, name: str) -> Pixels:
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high) and low >= 0):
        raise DataError(f"{name}: holds values from {low} to {high}; expected none below 0 and none undefined")
    if values.dtype.kind == "f":
        white = next((white for white in (1, 255, 65535) if high <= white), None)
        if white is None:
            raise DataError(f"{name}: holds fractions up to {high}; expected 0..1, 0..255 or 0..65535")
    else:
        white = 65535 if high <= 65535 else 2**31 - 1
    return np.rint(values * (255.0 / white)).astype(np.uint8)
