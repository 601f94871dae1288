"""Convert pictures of any pixel type to 8-bit RGB.

The value range is the format's, if it defines one. If it doesn't, as for 32-bit TIFF, or if the
values use so little of it that another range is more likely, the picture is rejected: a guess could
come out black or wrap around.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from geoloc.errors import GeolocError

BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # TIFF 6.0 tags
WHITE_IS_ZERO, SIGNED = 0, (2,)
STRIP = 1 << 20  # pixels converted at once, to limit memory
USED = 16  # values below 1/16 of a range belong to another one: 12 bits stored in 16, or 8 in 12


class UnreadableImage(GeolocError, ValueError):
    """The file or its bytes are not a usable picture; the message says why."""


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded image to RGB; an RGB image is returned unchanged.

    Transparent pixels become black. Gray with more than eight bits is scaled and rounded: by the
    range of its format, or, for 32 bits, by that of 8 or 16 bits (integers) or by 0–1 or 0–255
    (floats).

    Raises:
        UnreadableImage: if values are outside these ranges, or use less than half of one that the
            format does not define.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _gray_to_rgb(image)
    if _tag(image, SAMPLE_FORMAT) == SIGNED:
        raise UnreadableImage("has signed values; save it with unsigned ones of 8 bits")
    color = image.info.get("transparency")
    if isinstance(color, tuple) and max(color) > 255:  # Pillow would compare it with 8 bits
        raise UnreadableImage("has a transparent color of 16 bits; save it with 8 bits")
    try:
        if image.mode in ("RGBA", "LA", "PA") or color is not None:
            return _on_black(image)
        return image if image.mode == "RGB" else image.convert("RGB")
    except ValueError as error:
        raise UnreadableImage(f"has pixels of mode {image.mode}: {error}") from error


def check_deep(image: Image.Image) -> None:
    """Check 16-bit colors, of which Pillow keeps the upper 8 bits.

    Raises:
        UnreadableImage: if they use less than 1/16 of their range.
    """
    if image.mode.startswith("I"):
        return  # Pillow keeps all bits, and `to_rgb` checks them
    colors = [image.getchannel(band) for band in image.getbands() if band != "A"]
    highest = max(color.getextrema()[1] for color in colors)
    if 0 < highest < 256 // USED:
        raise UnreadableImage(_unclear(highest << 8, "16-bit"))


def _tag(image: Image.Image, number: int) -> object:
    """Return a TIFF tag; None if it is missing or the format is another."""
    return image.tag_v2.get(number) if image.format == "TIFF" else None


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield an image from top to bottom, in parts, each with its first row."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _on_black(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        rgba = strip.convert("RGBA")
        black = Image.new("RGBA", rgba.size, "black")
        result.paste(Image.alpha_composite(black, rgba).convert("RGB"), (0, top))
    return result


def _gray_to_rgb(image: Image.Image) -> Image.Image:
    """Convert 16-bit or 32-bit gray, integer or float, to RGB."""
    parts = (np.asarray(strip) for _, strip in _strips(image))
    extrema = [(part.min(), part.max()) for part in parts]
    white = _white(image, float(np.min(extrema)), float(np.max(extrema)))
    inverted = _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO
    clear = image.info.get("transparency")
    result = Image.new("L", image.size)
    for top, strip in _strips(image):
        values = np.asarray(strip).astype(np.float64)
        gray = np.rint((white - values if inverted else values) * (255 / white))
        gray[values == clear] = 0
        result.paste(Image.fromarray(gray.astype(np.uint8)), (0, top))
    return result.convert("RGB")


def _white(image: Image.Image, low: float, high: float) -> float:
    """Return the value of white in 16-bit or 32-bit gray with values from low to high.

    Raises:
        UnreadableImage: if that is unclear.
    """
    if not np.isfinite([low, high]).all():
        raise UnreadableImage("has values that are NaN or infinite; save it with 8 bits")
    if low < 0:
        above = ", or values above 2,147,483,647" if image.mode == "I" else ""
        raise UnreadableImage(f"has negative values{above}; save it with 8 bits")
    if image.mode not in ("I", "F"):
        bits = (_tag(image, BITS) or (16,))[0]
        if 0 < high < (1 << bits) / USED:
            raise UnreadableImage(_unclear(high, f"{bits}-bit"))
        return (1 << bits) - 1
    for white in (255, 65535) if image.mode == "I" else (1, 255):
        if high <= white and (white == 1 or high == 0 or high > white / 2):
            return white
    raise UnreadableImage(_unclear(high, "32-bit" if image.mode == "I" else "float"))


def _unclear(high: float, kind: str) -> str:
    return f"values up to {high:.7g} in a {kind} image: their range is unclear; save it with 8 bits"
