"""Raw image files: verified, oriented, cropped and packed."""

from __future__ import annotations

import io
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".mpo", ".bmp", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")  # MPO is opened as JPEG
KEPT_AS_THEY_ARE = ("JPEG", "PNG")
MAX_PIXELS = 178_956_970  # the limit above which Pillow suspects a decompression bomb
TURNS = {  # what makes an image upright, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImage(ValueError):
    """The bytes are no picture that can be used; the message says why."""


def image_files(folder: Path) -> list[str]:
    """Names of the image files directly in `folder`, sorted, without hidden files."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
    return sorted(name for name in names if is_image(name))


def is_image(name: str) -> bool:
    """Whether a file is an image by its suffix."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # faster than pathlib, for millions


@dataclass(frozen=True)
class Preparation:
    """What happens to an image of a source: `crop` is `center` (the largest square) or `none`;
    `size` is the side in pixels after the crop, or None to keep it."""

    crop: str = "none"
    size: int | None = None


def _open(data: bytes) -> Image.Image:
    """Decode completely, so that a truncated file is found here and not later."""
    if not data:
        raise UnreadableImage("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(f"the image has more than {MAX_PIXELS} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage("not a JPEG, PNG, WebP, MPO, BMP or TIFF image") from error
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, IndexError) as error:
        raise UnreadableImage(f"damaged image: {error}") from error
    return image


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright, None where it is so or its EXIF cannot be read: the picture
    itself may be whole all the same."""
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # Pillow raises almost anything for a damaged block
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Transparent pixels become black; 16-bit gray is scaled and not clipped."""
    if image.mode.startswith("I"):
        gray = np.asarray(image, np.float64)
        scale = 255 / 65535 if gray.max(initial=0) > 255 else 1
        return Image.fromarray((gray * scale).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "black"), rgba).convert("RGB")
    return image.convert("RGB")


def center_square(image: Image.Image) -> Image.Image:
    """The largest centred square of an image."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def prepare(data: bytes, preparation: Preparation) -> bytes:
    """Turn a raw file into an upright RGB image of the wanted size.

    Returns PNG, or the very bytes that came in where nothing had to change. Resizing is bicubic.
    Raises UnreadableImage with the reason.
    """
    image = _open(data)
    turn = _turn(image)
    changed = image.format not in KEPT_AS_THEY_ARE or image.mode != "RGB"
    changed |= "transparency" in image.info or turn is not None
    result = _to_rgb(image if turn is None else image.transpose(turn))
    if preparation.crop == "center" and result.width != result.height:
        result, changed = center_square(result), True
    if preparation.size and result.size != (preparation.size, preparation.size):
        size = (preparation.size, preparation.size)
        result, changed = result.resize(size, Image.Resampling.BICUBIC), True
    if not changed:
        return data
    buffer = io.BytesIO()
    result.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Decode a packed image to uint8 (H, W, 3), RGB. Raises UnreadableImage."""
    return np.array(_to_rgb(_open(bytes(data))))  # a copy, which torch may write to


def nearest_indices(size: int, new_size: int) -> np.ndarray:
    """Source index of each of `new_size` pixels when `size` are resized by nearest neighbour,
    as Pillow does it (the pixel under the centre of the new one): int64 (new_size,)."""
    return ((np.arange(new_size) + 0.5) * size / new_size).astype(np.int64)


def resize_nearest(array: np.ndarray, size: int) -> np.ndarray:
    """Squash (H, W, …) to (size, size, …) by nearest neighbour, the default of Keras'
    `flow_from_directory`; equal to Pillow's `Image.resize(…, NEAREST)`."""
    rows = nearest_indices(array.shape[0], size)
    columns = nearest_indices(array.shape[1], size)
    return array[rows[:, None], columns]
