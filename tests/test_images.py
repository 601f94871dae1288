import io
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image, ImageOps

from geoloc.images import Preparation, UnreadableImage, decode, prepare, resize_nearest

STUDY = Preparation(crop="center", size=64)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO", "BMP", "TIFF"])
def test_every_format_becomes_an_rgb_square(kind):
    image = decode(prepare(encoded(gradient(150, 66), kind), STUDY))
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert image[:, 0, 0].mean() == pytest.approx(255 * 42 / 150, abs=6)  # cut from the centre


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_are_kept_where_nothing_changes(kind):
    data = encoded(gradient(64, 64), kind)
    assert prepare(data, STUDY) is data


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    data = encoded(gradient(60, 40), "JPEG", exif=exif, quality=95)
    image = decode(prepare(data, Preparation()))
    assert image.shape == (60, 40, 3)
    expected = np.rot90(np.asarray(gradient(60, 40)), -1)
    assert np.abs(image.astype(int) - expected).mean() < 5


def exif_block(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of tags, each given as number, type, count and four bytes."""
    tags = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + tags + bytes(4)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0no TIFF file",
        b"Exif\0\0II*\0\x08\0",
        exif_block((0x8769, 9, 1, b"\0\0\0\xff"), (0x0112, 3, 1, b"\6\0\0\0"))[:30],
    ],
)
def test_a_picture_with_an_unreadable_exif_block_is_used_as_it_is(block):
    data = encoded(gradient(60, 40), "JPEG", exif=block, dpi=(72, 72))
    assert prepare(data, Preparation()) is data


@pytest.mark.parametrize(
    "tag", [(0xA005, 8, 2, b"\xf4\x8d\xc7\x19"), (0xA005, 2, 1, b"\x86Z\xdf\x9c")]
)
def test_the_orientation_counts_also_where_other_tags_are_damaged(tag):
    block = exif_block((0x0112, 3, 1, b"\6\0\0\0"), tag)
    data = encoded(gradient(60, 40), "JPEG", exif=block, dpi=(72, 72))
    assert decode(prepare(data, Preparation())).shape == (60, 40, 3)


@pytest.mark.parametrize("orientation", range(9))
def test_every_orientation_is_that_of_pillow(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(gradient(60, 40), "JPEG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(prepare(data, Preparation())), np.asarray(expected))


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_pixel_mode_becomes_rgb(mode):
    if mode == "I;16":
        image = Image.fromarray(np.linspace(0, 65535, 4096).reshape(64, 64).astype(np.uint16))
    else:
        image = gradient(64, 64).convert(mode)
    result = decode(prepare(encoded(image, "TIFF" if mode == "CMYK" else "PNG"), STUDY))
    assert result.shape == (64, 64, 3)
    assert result.max() > 200  # 16 bits are scaled, not clipped or wrapped
    assert result.min() < 60


def test_transparent_pixels_are_black():
    data = encoded(Image.new("RGBA", (64, 64), (255, 255, 255, 0)), "PNG")
    assert decode(prepare(data, STUDY)).max() == 0


def zipped() -> bytes:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").writestr("a.jpg", b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"this is no picture", "not a JPEG"),
        (zipped(), "not a JPEG"),
        (encoded(gradient(200, 200), "JPEG")[:-800], "damaged"),
        (encoded(gradient(200, 200), "PNG")[:300], "damaged"),
        (encoded(Image.new("1", (20000, 10000)), "PNG"), "pixels"),
        (encoded(gradient(20, 20), "GIF"), "not a JPEG"),
    ],
)
def test_what_is_no_usable_image_has_a_reason(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        prepare(data, STUDY)


@pytest.mark.parametrize("size", [224, 640])
def test_nearest_resizing_is_that_of_pillow(size):
    image = np.random.default_rng(0).integers(0, 256, (333, 517, 3), np.uint8)
    expected = Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resize_nearest(image, size), np.asarray(expected))
