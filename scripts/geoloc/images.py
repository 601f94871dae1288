"""Image files: read, check, orient, crop and encode them."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import ExifTags, Image

from geoloc.rgb import UnreadableImage, check_deep, to_rgb

__all__ = [
    "EXTENSIONS", "FORMATS", "LARGEST", "MAX_RATIO", "MAX_BYTES", "MAX_MEGAPIXELS", "Preparation",
    "UnreadableImage", "center_square", "check_file", "decode", "decode_image", "image_files",
    "is_image", "megapixels", "middle", "nearest_indices", "open_file", "prepare",
    "prepared_pixels", "read_file", "resize_nearest",
]  # fmt: skip

EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".mpo", ".bmp", ".tif", ".tiff", ".heic",
    ".heif", ".hif", ".avif",
})  # fmt: skip
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "HEIF", "AVIF")  # Pillow opens MPO as JPEG
KEPT_AS_THEY_ARE = ("JPEG", "PNG")
MAX_BYTES = 1 << 30  # of one image; photos are smaller
MAX_MEGAPIXELS = 150  # default of prepare.max_megapixels
LARGEST = 1000  # largest prepare.max_megapixels allowed
MAX_RATIO = 32  # of the longer to the shorter side; photos are not longer
TURNS = {  # transpose that makes an image upright, by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow's own limit applies to a whole process and acts through warnings, which threads can't
# change safely; `_open` has its own.
Image.MAX_IMAGE_PIXELS = None
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def image_files(folder: Path) -> list[str]:
    """Return the sorted names of the image files directly in `folder`, without hidden files."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
    return sorted(name for name in names if is_image(name))


def is_image(name: str) -> bool:
    """Return whether a file is an image by its suffix."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS  # faster than pathlib, for millions


def check_file(status: os.stat_result) -> None:
    """Raise UnreadableImage for anything but a regular file smaller than `MAX_BYTES`.

    Reading something else may never end, or never start.
    """
    mode = status.st_mode
    if not stat.S_ISREG(mode):
        kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a FIFO", stat.S_ISSOCK: "a socket"}
        kind = next((name for check, name in kinds.items() if check(mode)), "a device")
        raise UnreadableImage(f"{kind}, not a file")
    if status.st_size > MAX_BYTES:
        raise UnreadableImage(
            f"has {status.st_size} bytes, more than {MAX_BYTES}, the most of an image file"
        )


@contextmanager
def open_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open an image file for reading; this never blocks.

    Raises:
        UnreadableImage: if `check_file` rejects it.
        OSError: if it can't be opened.
    """
    check_file(os.stat(path))  # before opening, which rewinds a tape
    with open(path, "rb", opener=_open_at_once) as file:
        check_file(os.fstat(file.fileno()))  # the file may have been replaced
        yield file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read_file(path: str | Path) -> bytes:
    """Return the bytes of an image file. Raises the errors of `open_file`."""
    with open_file(path) as file:
        return file.read(os.fstat(file.fileno()).st_size)  # no more: files in /proc never end


@dataclass(frozen=True)
class Preparation:
    """How images of a source are prepared.

    Attributes:
        crop: `center` (the largest square) or `none`.
        size: side in pixels after the crop, or None to keep it.
    """

    crop: str = "none"
    size: int | None = None


def _open(data: bytes, max_megapixels: float) -> Image.Image:
    """Decode completely, so that truncated files are found here.

    If a file has several pictures, this is the first, or the primary one of a HEIF file.
    """
    if not data:
        raise UnreadableImage("the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        _check_size(image, max_megapixels)
        deep = ";16" in str([tile.args for tile in image.tile])
        image.load()
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage(
            "not a JPEG, PNG, WebP, AVIF, HEIF, MPO, BMP or TIFF image, or of a variant that "
            "cannot be read"
        ) from error
    except Exception as error:  # decoders raise almost anything for damaged data
        raise UnreadableImage(f"damaged image: {error or type(error).__name__}") from error
    _check_size(image, max_megapixels)  # the decoded size may differ from the header's
    if deep:
        check_deep(image)
    return image


def _check_size(image: Image.Image, max_megapixels: float) -> None:
    size = image.width * image.height / 1e6
    if size > max_megapixels:
        raise UnreadableImage(
            f"has {size:.6g} megapixels, more than {max_megapixels:g}; raise "
            "prepare.max_megapixels (geoloc predict: --max-megapixels)"
        )


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the transpose that makes an image upright.

    None if it is upright or its EXIF data can't be read; the picture itself may still be intact.
    """
    try:
        return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # Pillow raises almost anything for damaged EXIF data
        return None


def center_square(image: Image.Image) -> Image.Image:
    """Return the largest centered square of an image."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def prepare(data: bytes, preparation: Preparation, max_megapixels: float = MAX_MEGAPIXELS) -> bytes:
    """Turn an image file into an upright RGB image of the given size.

    Resizing is bicubic.

    Returns:
        PNG, or the original bytes if nothing had to change.

    Raises:
        UnreadableImage: with the reason, for example more than `max_megapixels`.
    """
    image, changed = _prepared(data, preparation, max_megapixels)
    if not changed:
        return data
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def prepared_pixels(
    data: bytes, preparation: Preparation, max_megapixels: float = MAX_MEGAPIXELS
) -> np.ndarray:
    """Return the pixels of `prepare`, uint8 (H, W, 3), RGB, without encoding them."""
    return np.array(_prepared(data, preparation, max_megapixels)[0])


def _prepared(
    data: bytes, preparation: Preparation, max_megapixels: float
) -> tuple[Image.Image, bool]:
    """Return the upright RGB image of the given size, and whether it differs from the file's."""
    image = _open(data, max_megapixels)
    turn = _turn(image)
    changed = image.format not in KEPT_AS_THEY_ARE or image.mode != "RGB"
    changed |= "transparency" in image.info or turn is not None
    if turn is not None:
        image = image.transpose(turn)
    image = to_rgb(image)
    if preparation.crop == "center" and image.width != image.height:
        image, changed = center_square(image), True
    if preparation.size and image.size != (preparation.size, preparation.size):
        size = (preparation.size, preparation.size)
        image, changed = image.resize(size, Image.Resampling.BICUBIC), True
    return image, changed


def decode(data: bytes) -> np.ndarray:
    """Decode a packed image to uint8 (H, W, 3), RGB. Raises UnreadableImage."""
    return np.array(decode_image(data))  # a copy, which torch may write to


def decode_image(data: bytes) -> Image.Image:
    """Decode a packed image to an RGB Pillow image. Raises UnreadableImage."""
    return to_rgb(_open(bytes(data), LARGEST))


def megapixels(data: bytes) -> float:
    """Return the size of a packed image from its header; 0 if it has none."""
    try:
        with Image.open(io.BytesIO(bytes(data)), formats=KEPT_AS_THEY_ARE) as image:
            return image.width * image.height / 1e6
    except Exception:  # see `_open`; decoding it says what is wrong
        return 0


def middle(image: np.ndarray, ratio: int = MAX_RATIO) -> np.ndarray:
    """Return the middle of an image (H, W, 3) whose sides' ratio exceeds `ratio`.

    Other images are unchanged. Resizing the short side of such an image to hundreds of pixels would
    take gigabytes.
    """
    longest = ratio * min(image.shape[:2])
    rows, columns = (
        slice((side - min(side, longest)) // 2, (side + min(side, longest)) // 2)
        for side in image.shape[:2]
    )
    return image[rows, columns]


def nearest_indices(size: int, new_size: int) -> np.ndarray:
    """Return the source index of each pixel when resizing by nearest neighbor.

    It is the pixel under the center of the new one. Pillow finds the centers by adding up steps in
    double precision. If a center lies between two pixels, as for 20 of 224 of 640, the rounding of
    that sum decides, so it is added up here, too.

    Args:
        size: number of source pixels.
        new_size: number of target pixels.

    Returns:
        int64 (new_size,).
    """
    step = size / new_size
    return np.add.accumulate(np.r_[step / 2, np.full(new_size - 1, step)]).astype(np.int64)


def resize_nearest(array: np.ndarray, size: int) -> np.ndarray:
    """Squash (H, W, …) to (size, size, …) by nearest neighbor.

    This is the default of Keras' `flow_from_directory` and equals Pillow's `Image.resize(…,
    NEAREST)`.
    """
    rows = nearest_indices(array.shape[0], size)
    columns = nearest_indices(array.shape[1], size)
    return array[rows].take(columns, axis=1)  # three times as fast as one index for both axes
