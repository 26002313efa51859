from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.data.images import MAX_PIXELS, decode_image, is_image_name, read_image, write_png
from toolkit.errors import DataError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_give_the_pixels_back_whatever_the_file_is_called(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode_image(encoded(Image.fromarray(RGB), kind, **options), "misnamed.jpg"), RGB)


def test_jpeg_is_read_within_its_loss() -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), dtype=np.uint8)
    found = decode_image(encoded(Image.fromarray(flat), "JPEG", quality=95), "a")
    assert np.abs(found.astype(int) - flat).max() <= 3


def test_grey_is_itu_601_luma() -> None:
    grey = decode_image(encoded(Image.fromarray(RGB), "PNG"), "a", channels=1)
    expected = RGB @ np.array([0.299, 0.587, 0.114])
    assert grey.shape == (5, 7, 1)
    assert np.abs(grey[:, :, 0] - expected).max() <= 0.51


def test_a_grey_file_is_repeated_over_three_channels() -> None:
    found = decode_image(encoded(Image.fromarray(RGB[:, :, 0]), "PNG"), "a")
    assert np.array_equal(found, np.repeat(RGB[:, :, :1], 3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied_once(orientation: int, kind: str) -> None:
    # how the stored pixels must be turned for each value of the tag, from the EXIF standard's table
    turned = {1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2), 6: np.rot90(RGB, -1)}
    turned |= {7: np.rot90(RGB, 2).transpose(1, 0, 2), 8: np.rot90(RGB, 1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(decode_image(encoded(Image.fromarray(RGB), kind, exif=exif, **options), "a"), turned[orientation])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_not_clipped(kind: str) -> None:
    wide = np.array([[0, 128, 257, 32896, 65535]], dtype=np.uint16)  # 257 is one step of 8 bits
    found = decode_image(encoded(Image.fromarray(wide), kind), "a", channels=1)
    assert found[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_32_bit_numbers_within_16_bits_are_read_as_16_bits() -> None:
    wide = np.array([[0, 257, 65535]], dtype=np.int32)
    assert decode_image(encoded(Image.fromarray(wide), "TIFF"), "a", channels=1)[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize(
    ("values", "expected"), [([0, 0.5, 1], [0, 128, 255]), ([0, 100, 255], [0, 100, 255]), ([0, 257, 65535], [0, 1, 255])]
)
def test_fractions_are_scaled_by_the_smallest_range_that_holds_them(values: list[float], expected: list[int]) -> None:
    data = encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
    assert decode_image(data, "a", channels=1)[0, :, 0].tolist() == expected


@pytest.mark.parametrize(("value", "message"), [(np.nan, "undefined"), (-1.0, "from -1.0 to 0.0"), (1e6, "fractions up to 1000000.0")])
def test_fractions_without_a_known_range_are_refused(value: float, message: str) -> None:
    data = encoded(Image.fromarray(np.array([[0, value]], dtype=np.float32)), "TIFF")
    with pytest.raises(DataError, match=message):
        decode_image(data, "a")


def test_transparent_parts_show_white() -> None:
    layer = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], dtype=np.uint8)
    assert decode_image(encoded(Image.fromarray(layer), "PNG"), "a").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_a_palette_with_transparency_is_read_without_a_warning() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([1, 2, 3, 4, 5, 6])
    picture.putpixel((1, 0), 1)
    data = encoded(picture, "PNG", transparency=b"\xff\x00")
    assert decode_image(data, "a").tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_cmyk_becomes_rgb() -> None:
    found = decode_image(encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG"), "a")
    assert found.shape == (8, 8, 3)
    assert found.min() >= 250  # no ink is white


def test_of_several_frames_the_first_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode_image(data, "a")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM"])
def test_a_truncated_file_is_named_in_one_line(kind: str, tmp_path: Path) -> None:
    noise = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "half"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"half: truncated or damaged .* \(.+\); expected a complete picture") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"x: is empty; expected a picture \(JPEG, PNG, WebP, BMP, TIFF or PGM/PPM\)"),
        (b"GIF89a..", "x: is a GIF; expected JPEG, PNG"),
        (b"hello, world", r"x: is no picture \(it starts with b'hello, w'\); expected JPEG"),
        (b"BM nonsense", "x: truncated or damaged BMP"),
    ],
)
def test_what_is_no_picture_is_said(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_image(data, "x")


def test_missing_files_and_folders_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.png: no such file; expected a picture"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"is a folder; expected a picture"):
        read_image(tmp_path)


@pytest.mark.parametrize("side", [14_000, 20_000])
def test_the_pixel_limit_is_checked_before_decoding(side: int) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"")
    with pytest.raises(DataError, match=rf"big: {side} x {side} is {side * side:,} pixels; expected at most {MAX_PIXELS:,}"):
        decode_image(data, "big")


@pytest.mark.slow
def test_a_large_picture_below_the_limit_gives_no_warning() -> None:
    data = encoded(Image.new("1", (10_000, 9_000)), "PNG")  # Pillow itself warns from 89.5 million pixels on
    assert decode_image(data, "large", channels=1).shape == (9_000, 10_000, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_written_png_reads_back(channels: int, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", RGB[:, :, :channels])
    assert np.array_equal(read_image(tmp_path / "a.png", 1 if channels == 1 else 3), RGB[:, :, :channels])


def test_write_png_refuses_floats(tmp_path: Path) -> None:
    wrong: Any = RGB / 255
    with pytest.raises(ValueError, match=r"got \[5, 7, 3\] float64"):
        write_png(tmp_path / "a.png", wrong)


def test_image_names_are_told_by_their_ending() -> None:
    assert is_image_name("a/b.JPeG")
    assert not is_image_name("a/b.gif")
    assert not is_image_name("a/png")
