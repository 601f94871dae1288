"""One known picture in every file format and pixel type that a camera or a program may write."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pillow_heif
from PIL import Image

WIDTH, HEIGHT = 96, 64
_x, _y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
RGB = np.stack([_x, _y, 1 - _x], -1)  # 0-1
GRAY = _x * (0.5 + _y / 2)  # 0-1, unlike itself when it is turned, mirrored or inverted
ALPHA = np.where(_y < 0.5, 0.0, 1.0)


def levels(values: np.ndarray, white: float = 255, dtype: str = "u1") -> np.ndarray:
    """Values 0-1 as integers 0-white."""
    return np.rint(values * white).astype(dtype)


def three(gray: np.ndarray) -> np.ndarray:
    """Gray as RGB."""
    return np.repeat(gray[..., None], 3, -1)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """The bytes of a file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_opencv(suffix: str, values: np.ndarray, *options: int) -> bytes:
    """The bytes of a file that OpenCV writes. values: gray, RGB or RGBA."""
    order = {2: ..., 3: (..., [2, 1, 0]), 4: (..., [2, 1, 0, 3])}
    channels = values.shape[-1] if values.ndim == 3 else 2
    done, data = cv2.imencode(suffix, np.ascontiguousarray(values[order[channels]]), options)
    assert done
    return data.tobytes()


def deep_heif(values: np.ndarray, bits: int) -> bytes:
    """A HEIF file of 10 or 12 bits. values: RGB 0-1."""
    pixels = levels(values, 65535, "<u2")
    image = pillow_heif.from_bytes("RGB;16", pixels.shape[1::-1], pixels.tobytes())
    buffer = io.BytesIO()
    before = pillow_heif.options.SAVE_HDR_TO_12_BIT
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    try:
        image.save(buffer, quality=95)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = before
    return buffer.getvalue()


def tiff(
    pixels: bytes, bits: int, sample_format: int = 1, photometric: int = 1, order: str = "<",
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> bytes:  # fmt: skip
    """A gray TIFF without compression (TIFF 6.0), of what Pillow and OpenCV do not write."""
    tags = [
        (256, size[0]), (257, size[1]), (258, bits), (259, 1), (262, photometric),
        (273, 8), (277, 1), (278, size[1]), (279, len(pixels)), (339, sample_format),
    ]  # fmt: skip
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4)
    return mark + struct.pack(order + "I", 8 + len(pixels)) + pixels + directory


def png(pixels: np.ndarray, color_type: int, transparent: tuple[int, ...]) -> bytes:
    """A PNG of 16 bits with a transparent color, which Pillow does not write. pixels: (H, W) or
    (H, W, 3) of big-endian integers."""

    depth, rows = 16, b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", *pixels.shape[1::-1], depth, color_type, 0, 0, 0)
    clear = struct.pack(f">{len(transparent)}H", *transparent)
    chunks = {b"IHDR": head, b"tRNS": clear, b"IDAT": zlib.compress(rows), b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks.items())


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def twelve_bits(values: np.ndarray) -> bytes:
    """Values 0-4095 in twelve bits each, the higher ones first."""
    first, second = values.reshape(-1, 2).T.astype(np.uint16)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1)
    return packed.astype(np.uint8).tobytes()
