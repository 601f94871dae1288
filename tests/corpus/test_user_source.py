"""A source that a Python file lists: what it names is checked against the folder."""

from pathlib import Path

import pytest

from geoloc.corpus.sources import Source, SourceError, read_source
from geoloc.errors import InputError

FILE = """
class Folder:
    def __init__(self, rows):
        self.rows = rows

    def images(self, folder):
        for row in self.rows:
            yield {row}

def load(rows=()):
    return Folder(rows)
"""


def source(tmp_path: Path, *rows, row: str = "tuple(row)") -> Source:
    """A folder with a.jpg, b/c.png and d.jpg, of which the file lists some."""
    for name in ("a.jpg", "b/c.png", "d.jpg", "notes.txt"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    (tmp_path / "my_source.py").write_text(FILE.replace("{row}", row))
    entry = {"kind": "python", "path": str(tmp_path / "images"), "options": {"rows": rows},
             "file": str(tmp_path / "my_source.py")}  # fmt: skip
    return Source.from_config("mine", "street", entry)


def test_images_have_the_countries_or_places_that_the_file_gives_them(tmp_path):
    rows = ("a.jpg", "Namibia"), ("b/c.png", "FR"), ("d.jpg", 35.68, 139.69)
    listed = read_source(source(tmp_path, *rows)).images
    found = {item.path: (item.country, item.rejected) for item in listed}
    assert found == {"a.jpg": ("NA", ""), "b/c.png": ("FR", ""), "d.jpg": ("JP", "")}
    assert (listed[2].latitude, listed[2].longitude) == (35.68, 139.69)


def test_unusable_places_and_missing_images_are_rejected_with_the_reason(tmp_path):
    rows = ("a.jpg", "Atlantis"), ("d.jpg", 139.69, 35.68), ("gone.jpg", "FR")
    listed = read_source(source(tmp_path, *rows)).images
    reasons = {item.path: item.rejected for item in listed}
    assert reasons.pop("a.jpg").startswith("'Atlantis' is not the name of a country")
    assert reasons == {
        "d.jpg": "coordinates out of range: 139.69, 35.68",
        "gone.jpg": "named by the Python file, but the image is missing",
    }


def test_images_that_the_file_does_not_name_are_counted(tmp_path):
    listing = read_source(source(tmp_path, ("a.jpg", "NA")))
    assert [item.path for item in listing.images] == ["a.jpg"]
    assert listing.files == ["a.jpg"]
    assert listing.tally.counts["image that the Python file does not name"] == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a.jpg", "NA"), ("a.jpg", "FR")], "names the image 'a.jpg' twice"),
        ([("../secret.jpg", "NA")], r"names '\.\./secret\.jpg', which is not below the folder"),
        ([("/etc/a.jpg", "NA")], "names '/etc/a.jpg', which is not below"),
        ([("a.jpg",)], r"gives \('a.jpg',\), not \(path, country\) or \(path, latitude"),
        ([(1, "NA")], r"gives \(1, 'NA'\), not"),
        ([("a.jpg", 48.8)], r"gives 'a.jpg' the place \(48.8,\), neither the name"),
        ([("a.jpg", "48.8", "2.3")], r"gives 'a.jpg' the place \('48.8', '2.3'\), neither"),
    ],
)
def test_what_is_no_image_with_a_place_stops_the_run(rows, message, tmp_path):
    with pytest.raises(SourceError, match=rf"source mine: .*my_source\.py {message}.*; correct"):
        read_source(source(tmp_path, *rows))


def test_errors_of_the_file_have_its_line_and_no_object_is_named(tmp_path):
    with pytest.raises(InputError, match=r"my_source\.py, line 8: AttributeError"):
        read_source(source(tmp_path, ("a.jpg", "NA"), row="row.gone"))
    wrong = source(tmp_path)
    Path(wrong.file).write_text("def load(rows):\n    return 3\n")
    with pytest.raises(SourceError, match=r"object with images\(folder\), but it returned int"):
        read_source(wrong)
