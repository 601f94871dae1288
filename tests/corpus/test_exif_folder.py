"""Photographs with their places in EXIF."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from geoloc.corpus.index import list_sources
from geoloc.corpus.sources import Source, SourceError, list_source, listing_digest
from geoloc.corpus.sources.exif_folder import exif_coordinates

GPS = ExifTags.GPS


def gps(latitude, longitude, north="N", east="E") -> dict:
    tags = {GPS.GPSLatitude: latitude, GPS.GPSLongitude: longitude}
    tags |= {GPS.GPSLatitudeRef: north, GPS.GPSLongitudeRef: east}
    return {key: value for key, value in tags.items() if value is not None}


def photograph(path: Path, tags: dict | None = None, size=(8, 6), kind: str = "JPEG") -> Path:
    image, exif = Image.new("RGB", size, "green"), Image.Exif()
    if tags is not None:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(tags)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, kind, exif=exif.tobytes())
    return path


def test_half_of_a_phones_pictures_may_have_no_coordinates(tmp_path):
    for number in range(4):
        photograph(tmp_path / f"{number}.jpg", gps((48, 51, 24), (2, 21, 3)))
        photograph(tmp_path / f"screenshot{number}.jpg")
    assert len(list_sources([source(tmp_path)], max_rejected=0.01)[0]) == 4
    with pytest.raises(SourceError, match="4 of 8 images"):
        list_sources([source(tmp_path)], max_rejected=0)
    photograph(tmp_path / "one more.jpg")
    with pytest.raises(SourceError, match="5 of 9 images.*one more.jpg: no GPS coordinates"):
        list_sources([source(tmp_path)], max_rejected=0.01)


def source(folder: Path) -> Source:
    return Source("photos", "street", "exif_folder", folder)


@pytest.mark.parametrize(
    ("tags", "place"),
    [
        (gps((48, 51, 24), (2, 21, 3)), (48.856667, 2.350833)),
        (gps((22, 34, 12), (17, 5, 1), "S"), (-22.57, 17.083611)),
        (gps((37.5, 0, 0), (122.25, 0, 0), "N", "W"), (37.5, -122.25)),
        (gps((1, 30.5, 0), (2, 0.25, 0), "S", "W"), (-1.508333, -2.004167)),
        (gps((48, 51), (2, 21)), (48.85, 2.35)),
        (gps((47, 60, 60), (2, 0, 60), "S"), (-48.016667, 2.016667)),
        (gps(48.5, 2.25), (48.5, 2.25)),
        (gps((48, 30, 0), (2, 15, 0), "n", " e\0"), (48.5, 2.25)),
    ],
)
def test_degrees_minutes_seconds_and_hemispheres(tmp_path, tags, place):
    path = photograph(tmp_path / "a.jpg", tags)
    assert exif_coordinates(path) == pytest.approx(place, abs=1e-6)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (None, "no GPS coordinates"),
        ({GPS.GPSAltitude: 5.0}, "no latitude"),
        (gps((48, 51, 24), None), "no longitude"),
        (gps((0, 0, 0), (0, 0, 0)), "(0, 0) mean an unknown place"),
        (gps((IFDRational(48, 0), 51, 24), (2, 21, 3)), "latitude in EXIF is not a number"),
        (gps((IFDRational(0, 0),) * 3, (IFDRational(0, 0),) * 3), "is not a number"),
        (gps((48, 60.5, 0), (2, 21, 3)), "latitude in EXIF is out of range"),
        (gps((48, 51, 60.5), (2, 21, 3)), "latitude in EXIF is out of range"),
        (gps((48, 51, 24), (2, 21, 99)), "longitude in EXIF is out of range"),
        (gps((91, 0, 0), (2, 21, 3)), "out of range"),
        (gps((48, 0, 0), (181, 0, 0)), "out of range"),
        (gps((48, 51, 24), (2, 21, 3), north=None), "no hemisphere (N or S)"),
        (gps((48, 51, 24), (2, 21, 3), east="?"), "no hemisphere (E or W)"),
        (gps((48, 51, 24, 3, 4), (2, 21, 3)), "is not a number"),
    ],
)
def test_a_photograph_without_a_usable_place_is_rejected_with_its_reason(tmp_path, tags, reason):
    photograph(tmp_path / "a.jpg", tags)
    (listed,) = list_source(source(tmp_path))
    assert reason in listed.rejected
    assert not listed.country


def test_photographs_in_all_folders_below_are_found(tmp_path):
    """All folders below are searched; names may hold anything; hidden ones are left out."""
    names = ["a.jpg", 'über/l\'été "1".JPG', "x/i.HEIC", "x/v.avif", "x/w.webp", "x/y/z.tiff"]
    for name in names:
        kind = Path(name).suffix.lower().replace("jpg", "jpeg").replace("heic", "heif")[1:]
        photograph(tmp_path / name, gps((22, 34, 12), (17, 5, 1), "S"), kind=kind)
    photograph(tmp_path / "p.png", gps((48, 51, 24), (2, 21, 3)), kind="PNG")
    photograph(tmp_path / ".hidden/b.jpg", gps((48, 51, 24), (2, 21, 3)))
    (tmp_path / "notes.txt").touch()
    listed = list_source(source(tmp_path))
    found = {item.path: item.country for item in listed}
    assert found == {name: "NA" for name in names} | {"p.png": "FR"}
    assert [item.path for item in listed] == sorted(found)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe1\x00\x10Exif\0\0MM\0*"])
def test_what_is_no_image_is_rejected_and_stops_nothing(tmp_path, content):
    (tmp_path / "broken.jpg").write_bytes(content)
    photograph(tmp_path / "ok.jpg", gps((48, 51, 24), (2, 21, 3)))
    broken, good = list_source(source(tmp_path))
    assert "EXIF" in broken.rejected
    assert (good.path, good.country) == ("ok.jpg", "FR")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's about what is damaged
@settings(max_examples=200)
@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_header_whatever_stops_the_listing(tmp_path_factory, noise, position):
    path = tmp_path_factory.mktemp("noise") / "a.jpg"
    data = photograph(path, gps((48, 51, 24), (2, 21, 3))).read_bytes()
    path.write_bytes(data[:position] + noise + data[position + len(noise) :])
    (listed,) = list_source(source(path.parent))
    assert listed.rejected or listed.country


@settings(max_examples=50)
@given(st.fractions(0, 89), st.fractions(0, 59), st.sampled_from("NS"))
def test_any_rational_place_is_read_to_a_meter(tmp_path_factory, degrees, minutes, north):
    degrees, minutes = Fraction(int(degrees)), minutes.limit_denominator(10**6)
    path = tmp_path_factory.mktemp("place") / "a.jpg"
    rational = IFDRational(minutes.numerator, minutes.denominator)
    photograph(path, gps((int(degrees), rational, 0), (2, 21, 3), north))
    sign = 1 if north == "N" else -1
    assert exif_coordinates(path)[0] == pytest.approx(
        sign * float(degrees + minutes / 60), abs=1e-5
    )


def test_only_headers_are_read(tmp_path, monkeypatch):
    """A photograph whose pixels are cut off still has its place."""
    path = photograph(tmp_path / "a.jpg", gps((48, 51, 24), (2, 21, 3)), (900, 900))
    path.write_bytes(path.read_bytes()[:1000])
    big = photograph(tmp_path / "b.png", None, (900, 900), "PNG")
    big.write_bytes(big.read_bytes()[:200])
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("pixels were decoded"))
    first, second = list_source(source(tmp_path))
    assert first.country == "FR"
    assert second.rejected == "no GPS coordinates in EXIF"


def test_the_listing_changes_with_files_in_any_folder(tmp_path):
    photograph(tmp_path / "x/y/a.jpg")
    before = listing_digest(source(tmp_path))
    (tmp_path / "x/y/notes.txt").touch()
    assert listing_digest(source(tmp_path)) == before
    photograph(tmp_path / "x/y/b.jpg")
    assert listing_digest(source(tmp_path)) != before


def test_circles_of_links_do_not_matter(tmp_path):
    photograph(tmp_path / "x/a.jpg", gps((48, 51, 24), (2, 21, 3)))
    (tmp_path / "x/circle").symlink_to(tmp_path, target_is_directory=True)
    assert [item.path for item in list_source(source(tmp_path))] == ["x/a.jpg"]
