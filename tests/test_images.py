import errno
import io
import os
import socket
import struct
import zipfile
from contextlib import nullcontext

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from geoloc import rgb
from geoloc.config import load_schema
from geoloc.images import (
    EXTENSIONS,
    LARGEST,
    MAX_BYTES,
    MAX_MEGAPIXELS,
    Preparation,
    UnreadableImage,
    check_file,
    decode,
    is_image,
    megapixels,
    middle,
    prepare,
    read_file,
    resize_nearest,
)
from tests.conftest import ROOT
from tests.picture_files import (
    ALPHA,
    GRAY,
    RGB,
    by_opencv,
    deep_heif,
    encoded,
    levels,
    png,
    png_chunk,
    three,
    tiff,
    twelve_bits,
)

STUDY = Preparation(crop="center", size=64)


def gradient(width: int, height: int) -> Image.Image:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO", "BMP", "TIFF", "HEIF", "AVIF"])
def test_every_format_becomes_an_rgb_square(kind):
    image = decode(prepare(encoded(gradient(150, 66), kind), STUDY))
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert image[:, 0, 0].mean() == pytest.approx(255 * 42 / 150, abs=6)  # cut from the center


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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_a_picture_is_turned_once(kind, orientation):
    """HEIF and AVIF are turned by their container; some decoders do it and some leave it to us."""
    image = Image.fromarray(levels(RGB))
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image), float)
    exif = {} if kind == "HEIF" else {"exif": image.getexif()}  # of the image itself
    result = decode(prepare(encoded(image, kind, quality=95, **exif), Preparation()))
    assert result.shape == expected.shape
    assert np.abs(result - expected).mean() < 3


def test_the_exif_of_heif_does_not_turn_what_its_container_does_not():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(levels(RGB)), "HEIF", exif=exif, quality=95)
    assert b"irot" not in data
    assert np.abs(decode(prepare(data, Preparation())) - levels(RGB, dtype="i2")).mean() < 3


COLORS, GRAYS = levels(RGB), three(levels(GRAY))
ON_BLACK = np.where(ALPHA[..., None] > 0, COLORS, 0)
RGBA = np.dstack([COLORS, levels(ALPHA)])
DEEP = levels(GRAY, 65535, "u2")
INK = np.dstack([255 - COLORS, np.zeros_like(COLORS[..., 0])])
PALETTE = Image.fromarray(COLORS).quantize(256)
CLEAR = int(np.asarray(PALETTE)[0, 0])


def pillow(kind: str, pixels: np.ndarray | Image.Image, mode: str | None = None, **options):
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    return lambda: encoded(image.convert(mode) if mode else image, kind, **options)


def avif(bits: int):
    values = levels(RGB, (1 << bits) - 1, "u2")
    settings = cv2.IMWRITE_AVIF_DEPTH, bits, cv2.IMWRITE_AVIF_QUALITY, 95
    return lambda: by_opencv(".avif", values, *settings)


def animated(kind: str):
    frames = {"save_all": True, "append_images": [Image.new("RGB", PALETTE.size, "red")]}
    return pillow(kind, COLORS, quality=95, **frames)


# name: (the file, what it shows, the mean difference that its compression may make)
PICTURES = {
    "gray PNG": (pillow("PNG", GRAYS, "L"), GRAYS, 1),
    "gray JPEG": (pillow("JPEG", GRAYS, "L", quality=95), GRAYS, 2),
    "gray HEIF": (pillow("HEIF", GRAYS, "L", quality=95), GRAYS, 2),
    "black and white PNG": (
        pillow("PNG", GRAYS, "1"), three(np.asarray(Image.fromarray(GRAYS).convert("1")) * 255), 0,
    ),
    "gray PNG, alpha": (
        pillow("PNG", np.dstack([levels(GRAY), levels(ALPHA)])),
        np.where(three(ALPHA), GRAYS, 0), 0,
    ),
    "palette PNG": (pillow("PNG", PALETTE), np.asarray(PALETTE.convert("RGB")), 0),
    "palette PNG, one color transparent": (
        pillow("PNG", PALETTE, transparency=CLEAR),
        np.where(np.asarray(PALETTE)[..., None] == CLEAR, 0, PALETTE.convert("RGB")), 0,
    ),
    "palette TIFF": (pillow("TIFF", PALETTE), np.asarray(PALETTE.convert("RGB")), 0),
    "RGBA PNG": (pillow("PNG", RGBA), ON_BLACK, 0),
    "RGBA TIFF": (pillow("TIFF", RGBA), ON_BLACK, 0),
    "RGBA WebP": (pillow("WEBP", RGBA, quality=95), ON_BLACK, 3),
    "RGBA HEIF": (pillow("HEIF", RGBA, quality=95), ON_BLACK, 3),
    "RGBA AVIF": (pillow("AVIF", RGBA, quality=95), ON_BLACK, 3),
    "RGB PNG, 16 bits": (lambda: by_opencv(".png", levels(RGB, 65535, "u2")), COLORS, 1),
    "RGB TIFF, 16 bits": (lambda: by_opencv(".tiff", levels(RGB, 65535, "u2")), COLORS, 1),
    "RGBA PNG, 16 bits": (
        lambda: by_opencv(".png", levels(np.dstack([RGB, ALPHA]), 65535, "u2")), ON_BLACK, 1,
    ),
    "CMYK JPEG, inverted as Adobe does": (pillow("JPEG", COLORS, "CMYK", quality=95), COLORS, 2),
    "CMYK TIFF": (pillow("TIFF", Image.fromarray(INK, "CMYK")), COLORS, 0),
    "YCbCr TIFF": (pillow("TIFF", COLORS, "YCbCr"), COLORS, 2),
    "YCbCr TIFF in JPEG": (pillow("TIFF", COLORS, "YCbCr", compression="jpeg"), COLORS, 3),
    "gray PNG, 16 bits": (pillow("PNG", DEEP), GRAYS, 0),
    "gray PNG, 16 bits, one value transparent": (
        lambda: png(DEEP, 0, (int(DEEP[5, 50]),)),
        np.where(three(DEEP) == DEEP[5, 50], 0, GRAYS), 0,
    ),
    "gray TIFF, 16 bits": (pillow("TIFF", DEEP, compression="tiff_lzw"), GRAYS, 0),
    "gray TIFF, 16 bits, big-endian": (
        lambda: tiff(DEEP.astype(">u2").tobytes(), 16, order=">"), GRAYS, 0,
    ),
    "gray TIFF, 16 bits, white is 0": (
        lambda: tiff((65535 - DEEP).tobytes(), 16, photometric=0), GRAYS, 0,
    ),
    "gray TIFF, 12 bits": (lambda: tiff(twelve_bits(levels(GRAY, 4095, "u2")), 12), GRAYS, 1),
    "gray TIFF, 32 bits, values of 8": (
        lambda: tiff(levels(GRAY, 255, "<u4").tobytes(), 32), GRAYS, 0,
    ),
    "gray TIFF, 32 bits, values of 16": (
        lambda: tiff(levels(GRAY, 65535, "<u4").tobytes(), 32), GRAYS, 0,
    ),
    "gray TIFF, 32 bits, signed, big-endian": (
        lambda: tiff(levels(GRAY, 65535, ">i4").tobytes(), 32, 2, order=">"), GRAYS, 0,
    ),
    "gray TIFF, float 0-1": (lambda: tiff(GRAY.astype("<f4").tobytes(), 32, 3), GRAYS, 1),
    "gray TIFF, float 0-1, white is 0": (
        lambda: tiff((1 - GRAY).astype("<f4").tobytes(), 32, 3, photometric=0), GRAYS, 1,
    ),
    "gray TIFF, float 0-255": (lambda: tiff((255 * GRAY).astype("<f4").tobytes(), 32, 3), GRAYS, 1),
    "black TIFF, float": (lambda: tiff(bytes(4 * GRAY.size), 32, 3), 0 * GRAYS, 0),
    "black PNG, 16 bits": (pillow("PNG", 0 * DEEP), 0 * GRAYS, 0),
    "HEIF, 10 bits": (lambda: deep_heif(RGB, 10), COLORS, 3),
    "HEIF, 12 bits": (lambda: deep_heif(RGB, 12), COLORS, 3),
    "AVIF, 10 bits": (avif(10), COLORS, 3),
    "AVIF, 12 bits": (avif(12), COLORS, 3),
    "the first of two in MPO": (animated("MPO"), COLORS, 2),
    "the first of two in TIFF": (animated("TIFF"), COLORS, 0),
    "the first of two in WebP": (animated("WEBP"), COLORS, 3),
    "the first of two in AVIF": (animated("AVIF"), COLORS, 3),
    "the first of two in HEIF": (animated("HEIF"), COLORS, 3),
}  # fmt: skip


@pytest.mark.parametrize("strip", [rgb.STRIP, 1000])
@pytest.mark.parametrize("name", PICTURES)
def test_every_kind_of_pixels_shows_what_it_is_of(name, strip, monkeypatch):
    monkeypatch.setattr(rgb, "STRIP", strip)
    write, expected, tolerance = PICTURES[name]
    result = decode(prepare(write(), Preparation()))
    assert result.shape == expected.shape
    assert np.abs(result - expected.astype(float)).mean() <= tolerance


def floats(values: np.ndarray) -> bytes:
    return tiff(values.astype("<f4").tobytes(), 32, 3)


SPOT = np.zeros_like(GRAY)
SPOT[3, 3] = 1
UNCLEAR = {
    "32 bits, all used": (tiff(levels(GRAY, 2**32 - 1, "<u4").tobytes(), 32), "values above"),
    "32 bits, half used": (tiff(levels(GRAY, 2**31 - 1, "<u4").tobytes(), 32), "unclear"),
    "32 bits, values of 17": (tiff(levels(GRAY, 2**17, "<u4").tobytes(), 32), "131072 .* unclear"),
    "32 bits, values of 12": (tiff(levels(GRAY, 4095, "<u4").tobytes(), 32), "4095 .* unclear"),
    "16 bits, values of 12": (encoded(Image.fromarray(DEEP >> 4), "PNG"), "4095 .* unclear"),
    "16 bits, values of 8": (encoded(Image.fromarray(DEEP >> 8), "TIFF"), "255 .* unclear"),
    "16 bits of RGB, values of 12": (by_opencv(".png", levels(RGB, 4095, "u2")), "unclear"),
    "16 bits, signed": (tiff((DEEP - 32768).astype("<i2").tobytes(), 16, 2), "negative"),
    "8 bits, signed": (tiff(levels(GRAY).astype("i1").tobytes(), 8, 2), "signed"),
    "float, above white": (floats(GRAY * 1.02), "1.02 .* unclear"),
    "float, values of 16 bits": (floats(GRAY * 65535), "65535 .* unclear"),
    "float, negative": (floats(GRAY - 0.5), "negative"),
    "float, NaN": (floats(GRAY + np.where(SPOT, np.nan, 0)), "NaN or infinite"),
    "float, infinite": (floats(GRAY + np.where(SPOT, np.inf, 0)), "NaN or infinite"),
    "float of 64 bits": (tiff(GRAY.tobytes(), 64, 3), "cannot be read"),
    "float, RGB": (by_opencv(".tiff", RGB.astype("f4")), "cannot be read"),
    "16 bits, transparent color": (png(levels(RGB, 65535, "u2"), 2, (1, 2, 60000)), "transparent"),
    "animation that is no photograph": (encoded(gradient(20, 20), "GIF"), "not a JPEG"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_pixels_of_unclear_meaning_are_refused_and_not_guessed(name):
    data, reason = UNCLEAR[name]
    with pytest.raises(UnreadableImage, match=reason):
        prepare(data, STUDY)


EDGES = {
    "16 bits": (lambda high: encoded(Image.fromarray(levels(GRAY, high, "u2")), "PNG"), 4096),
    "16 bits of RGB": (lambda high: by_opencv(".png", levels(RGB, high, "u2")), 4096),
    "12 bits": (lambda high: tiff(twelve_bits(levels(GRAY, high, "u2")), 12), 256),
    "32 bits of 8": (lambda high: tiff(levels(GRAY, high, "<u4").tobytes(), 32), 128),
    "32 bits of 16": (lambda high: tiff(levels(GRAY, high, "<u4").tobytes(), 32), 32768),
    "float": (lambda high: floats(high * GRAY), 128),
}


@pytest.mark.parametrize("name", EDGES)
def test_pixels_are_taken_from_a_sixteenth_of_their_range_on_or_the_half_of_a_likely_one(name):
    write, least = EDGES[name]
    assert decode(prepare(write(least), Preparation())).max() <= 128
    with pytest.raises(UnreadableImage, match="unclear"):
        prepare(write(least - 1), Preparation())


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
        (encoded(gradient(20, 20), "GIF"), "not a JPEG"),
    ],
)
def test_what_is_no_usable_image_has_a_reason(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        prepare(data, STUDY)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "HEIF", "AVIF", "TIFF", "BMP"])
def test_the_limit_of_pixels_is_the_one_that_is_given(kind):
    data = encoded(Image.new("RGB", (400, 300)), kind)
    assert decode(prepare(data, STUDY, max_megapixels=0.12)).shape == (64, 64, 3)
    with pytest.raises(UnreadableImage, match="0.12 megapixels, more than 0.119; raise"):
        prepare(data, STUDY, max_megapixels=0.119)


def test_an_image_of_96_megapixels_is_read():
    """Above 89 megapixels Pillow warns, which was an error once."""
    data = encoded(Image.new("L", (12000, 8000), 200), "JPEG")
    assert decode(prepare(data, STUDY)).min() == 200


def test_the_limits_of_the_schema_are_those_of_the_code():
    schema = load_schema(ROOT / "config/config.schema.yaml")
    entry = schema["properties"]["prepare"]["properties"]["max_megapixels"]
    assert (entry["default"], entry["maximum"]) == (MAX_MEGAPIXELS, LARGEST)


def test_pixels_above_the_limit_are_not_decoded():
    head = struct.pack(">IIBBBBB", 50_001, 4000, 8, 2, 0, 0, 0)  # and no pixels
    data = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", b"")
    with pytest.raises(UnreadableImage, match="200.004 megapixels, more than 150;"):
        prepare(data, STUDY)
    with pytest.raises(UnreadableImage, match="damaged"):
        prepare(data, STUDY, max_megapixels=201)


@pytest.mark.parametrize(
    "suffix",
    ["JPG", "jpeg", "jpe", "jfif", "png", "webp", "mpo", "bmp", "tif", "TIFF", "heic", "HEIF",
     "hif", "avif"],
)  # fmt: skip
def test_names_of_images(suffix):
    name = f"a.{suffix}"
    assert is_image(name)
    assert not is_image(name + ".txt")
    assert ".gif" not in EXTENSIONS


# -------------------------------------------------------------------------------------- files


@pytest.fixture
def files(tmp_path):
    """What may lie under the name of an image."""
    (tmp_path / "good.jpg").write_bytes(b"12345")
    (tmp_path / "link.jpg").symlink_to("good.jpg")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "endless.jpg").symlink_to("/proc/self/mountinfo")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "huge.jpg").touch()
    os.truncate(tmp_path / "huge.jpg", 20_000_000_000)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero.jpg", "a device, not a file"),
        ("pipe.jpg", "a FIFO, not a file"),
        ("socket.jpg", "a socket, not a file"),
        ("folder.jpg", "a folder, not a file"),
        ("huge.jpg", f"has 20000000000 bytes, more than {MAX_BYTES}"),
    ],
)
def test_only_files_of_a_photographs_size_are_read(files, name, reason):
    with pytest.raises(UnreadableImage, match=reason):
        read_file(files / name)


def test_a_file_of_a_gigabyte_may_be_a_photograph(files):
    for size, problem in ((1 << 30, ""), ((1 << 30) + 1, "has 1073741825 bytes, more than")):
        os.truncate(files / "huge.jpg", size)
        with pytest.raises(UnreadableImage, match=problem) if problem else nullcontext():
            check_file(os.stat(files / "huge.jpg"))


def test_files_are_read_through_links_but_not_in_circles(files):
    assert read_file(files / "good.jpg") == read_file(files / "link.jpg") == b"12345"
    assert read_file(files / "endless.jpg") == b""  # its size is 0, whatever it gives
    with pytest.raises(OSError, match="symbolic links") as error:
        read_file(files / "circle.jpg")
    assert error.value.errno == errno.ELOOP


def test_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(files, monkeypatch):
    status = os.stat(files / "good.jpg")
    monkeypatch.setattr(os, "stat", lambda path, **_: status)
    with pytest.raises(UnreadableImage, match="a FIFO"):
        read_file(files / "pipe.jpg")


@given(st.integers(1, 1500), st.integers(1, 1500), st.sampled_from([224, 640, 7]))
@example(640, 640, 224)  # of a score map to an array: many centers lie between two pixels
@example(662, 662, 640)  # of a cropped panorama to an image
@settings(max_examples=60, deadline=None)
def test_nearest_resizing_is_that_of_pillow(height, width, size):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    expected = Image.fromarray(image).resize((size, size), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resize_nearest(image, size), np.asarray(expected))


def test_the_ends_of_images_that_no_photo_resembles_are_cut_off():
    line = np.arange(20_000)[:, None, None].repeat(3, axis=2)
    assert middle(line)[:, 0, 0].tolist() == list(range(9_984, 10_016))
    assert (middle(line.swapaxes(0, 1)) == middle(line).swapaxes(0, 1)).all()
    panorama = np.zeros((10, 320, 3))
    assert middle(panorama).shape == panorama.shape


def test_megapixels_are_millions_of_pixels():
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300)).save(buffer, "JPEG")
    assert megapixels(buffer.getvalue()) == 0.12
    assert megapixels(b"none") == 0
