"""Everything in a source's folder is read, or counted and named; no file is used twice."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloc.corpus.index import build_index, list_sources, write_index
from geoloc.corpus.sources import (
    Source,
    SourceError,
    check_folders,
    list_source,
    listing_digest,
    most_allowed,
    read_source,
)
from geoloc.corpus.system_files import is_system_name
from tests.corpus.test_archives import make_zip
from tests.corpus.test_sources import written


def tree(folder, *files):
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def countries(folder, name="s", **options) -> Source:
    return Source(name, "street", "country_folders", folder, **options)


MESSY = {
    "read": ["France/a.jpg", "France/2020/06/b.PNG", "Japan/c.webp"],
    "not an image": ["France/notes.txt", "notes/readme.md", "list.csv", "Japan/noext"],
    "unsupported format": ["France/x.gif", "Iceland/y.SVG", "Iceland/z.cr2"],
    "system file": ["France/.hidden.jpg", "France/Thumbs.db", "Japan/._c.jpg", ".DS_Store"],
    "image in no country folder": ["loose.jpg"],
    "archive that is not searched": ["France/more.zip"],
    "archive that is compressed as a whole": ["France/more.tar.gz"],
}


@pytest.fixture
def messy(tmp_path):
    folder = tree(tmp_path / "messy", *(name for names in MESSY.values() for name in names))
    for name in ("@eaDir/a.jpg", "France/@eaDir/a.jpg", "$RECYCLE.BIN/b.jpg", ".git/c.jpg",
                 "__MACOSX/France/d.jpg", "lost+found/e.jpg"):  # fmt: skip
        tree(folder, name)
    (folder / "France/gone.jpg").symlink_to("nowhere.jpg")
    (folder / "France/self.jpg").symlink_to("self.jpg")
    (folder / "France/gone.txt").symlink_to("nowhere.txt")
    (folder / "Japan/all").symlink_to("../France")
    os.mkfifo(folder / "Japan/pipe.jpg")
    os.mkfifo(folder / "Japan/pipe")
    (folder / "Norway").mkdir()
    return countries(folder)


def test_every_entry_of_a_folder_is_read_or_counted_and_named(messy, caplog, tmp_path):
    with caplog.at_level(logging.INFO):
        images, rejected, listing = list_sources([messy], max_rejected=1)
    assert sorted(images.path) == sorted(MESSY["read"])
    assert dict(zip(listing.kind, listing.files, strict=True)) == {
        kind: len(names) for kind, names in MESSY.items()
    } | {"system folder": 6, "broken link": 3, "special file": 2, "link to a folder": 1,
         "folder without images": 3}  # fmt: skip
    examples = dict(zip(listing.kind, listing.examples, strict=True))
    assert examples["unsupported format"] == "France/x.gif; Iceland/y.SVG; Iceland/z.cr2"
    assert dict(zip(rejected.path, rejected.reason, strict=True)) == {
        "France/gone.jpg": "a link to a file that does not exist",
        "France/self.jpg": "a link to itself",
        "Japan/pipe.jpg": "a FIFO, not a file",
    }
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any("folder Iceland (Iceland): 2 unsupported format" in text for text in warnings)
    assert any("folder Norway (Norway): it has no image" in text for text in warnings)
    assert any("folder notes (not a country): it has no image" in text for text in warnings)
    assert any("skipped: 3 unsupported format (France/x.gif, Iceland" in text for text in warnings)
    assert any("4 not an image, 3 read" in record.getMessage() for record in caplog.records)


SYSTEM = (
    "__MACOSX", ".DS_Store", ".AppleDouble", ".apdisk", ".fseventsd", ".Spotlight-V100",
    ".DocumentRevisions-V100", ".TemporaryItems", ".Trashes", "Network Trash Folder",
    "Temporary Items", "Icon\r", "Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
    "$RECYCLE.BIN", "RECYCLER", "Recycled", "System Volume Information", "@eaDir", "@Recycle",
    "@Recently-Snapshot", "@tmp", ".@__thumb", "#recycle", "#snapshot", "~snapshot", "lost+found",
    "__pycache__", ".ipynb_checkpoints", "._a.jpg", ".Trash-1000",
)  # fmt: skip


@pytest.mark.parametrize("name", SYSTEM)
def test_what_systems_leave_among_files_is_theirs(name):
    assert is_system_name(name)
    assert not is_system_name(f"my {name}")


def test_the_listing_is_written_beside_the_index(messy, tmp_path):
    tables = build_index(
        [messy], min_images=1, shard_size=9, seed=42, ratio=(0.8, 0.1, 0.1), max_rejected=1
    )
    write_index(tmp_path / "index", *tables)
    written = pd.read_csv(tmp_path / "index/listing.csv")
    assert list(written) == ["source", "kind", "files", "examples"]
    assert written.files.sum() == sum(map(len, MESSY.values())) + 6 + 3 + 2 + 1 + 3


names = st.sampled_from(["a.jpg", "b.PNG", "c.gif", ".d.jpg", "e.txt", "Thumbs.db", "f", "g.zip"])
folders = st.sampled_from(["", "France/", "Japan/", "France/x/", "@eaDir/", "FR/"])
kinds = st.sampled_from(["country_folders", "coordinates_table", "exif_folder", "metadata_table"])


@settings(max_examples=30)
@given(files=st.sets(st.tuples(folders, names), min_size=1), kind=kinds, column=st.booleans())
def test_files_in_are_files_counted(tmp_path_factory, files, kind, column):
    """Every file is one count, a system folder is one, whatever the kind of the source."""
    root = tmp_path_factory.mktemp("tree")
    folder = tree(
        root / "images", "0.jpg", "France/0.jpg", *(f + n for f, n in files if n != "g.zip")
    )
    for prefix, name in files:
        if name == "g.zip":
            make_zip(tree(folder, prefix + name) / prefix / name, ["in.jpg"])
    header = "file,id,latitude,longitude\n"
    (root / "t.csv").write_text(header + "0.jpg,0,48.85,2.35\n")
    source = Source("s", "street", kind, root, "images", "t.csv", "file" if column else None)
    found = read_source(source)
    counts = dict(found.tally.counts)
    counts.pop("folder without images", None)
    system = {prefix for prefix, _ in files if prefix == "@eaDir/"}
    seen = [p for p in folder.rglob("*") if p.is_file() and "@eaDir" not in p.parts]
    members = sum(".zip/" in item.path for item in found.images)
    assert sum(counts.values()) == len(seen) + len(system) + members
    assert counts.get("read", 0) == sum(not item.rejected for item in found.images)


def test_images_below_are_read_where_the_table_names_them_and_else_counted(tmp_path):
    tree(tmp_path / "images", "sub/a.jpg", "sub/b.jpg", "thumbs/a.jpg")
    text = "file,latitude,longitude\nsub/a.jpg,48.85,2.35\n"
    assert written(tmp_path, text, []) == {"sub/a.jpg": "FR", "sub/b.jpg": "not named in the table"}
    source = Source("s", "street", "coordinates_table", tmp_path, "images", "table.csv", "file")
    tally = read_source(source).tally
    assert tally.examples["image in a folder that is not searched"] == ["thumbs/a.jpg"]


@pytest.mark.parametrize("kind", ["country_folders", "coordinates_table", "metadata_table"])
def test_an_image_that_is_no_file_is_rejected_with_what_it_is(tmp_path, kind):
    (tmp_path / "France").mkdir()
    (tmp_path / "France/circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "t.csv").write_text("file,id,latitude,longitude\nFrance/circle.jpg,circle,1,2\n")
    source = Source("s", "street", kind, tmp_path, ".", "t.csv", "file")
    assert listing_digest(source)
    (item,) = list_source(source)
    assert (item.path, item.rejected) == ("France/circle.jpg", "a link to itself")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_stops_the_index_and_not_the_planning(tmp_path):
    source = countries(tree(tmp_path, "France/a.jpg", "Japan/x/b.jpg"))
    (tmp_path / "Japan/x").chmod(0)
    try:
        assert listing_digest(source)
        with pytest.raises(SourceError, match=r"cannot list the folder .*Japan/x \(Permission"):
            list_source(source)
    finally:
        (tmp_path / "Japan/x").chmod(0o700)


def test_a_folder_of_which_nothing_can_be_told_stops_the_index_and_not_the_planning(tmp_path):
    source = countries(tmp_path / ("x" * 300))
    assert listing_digest(source)
    with pytest.raises(
        SourceError, match=r"cannot read the folder .* \(File name too long\); make"
    ):
        list_source(source)


def test_a_folder_that_vanishes_while_it_is_listed_is_named(tmp_path, monkeypatch):
    source = countries(tree(tmp_path, "France/a.jpg"))

    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    assert listing_digest(source)
    with pytest.raises(SourceError, match=r"cannot list the folder .* \(Permission denied\); make"):
        list_source(source)


def test_too_many_images_without_a_place_stop_the_index_and_are_named(tmp_path):
    source = countries(tree(tmp_path / "s", *(f"France/{number}.jpg" for number in range(12))))
    for number in range(8):
        (tmp_path / f"s/France/gone{number}.jpg").symlink_to("nowhere.jpg")
    unusable = tmp_path / "logs/index.rejected.csv"
    with pytest.raises(SourceError) as error:
        list_sources([source], max_rejected=0.39, unusable=unusable)
    told = str(error.value)
    assert "8 of 20 images have no usable place" in told
    for number in range(8):
        assert (f"France/gone{number}.jpg: a link to a file that does not exist" in told) == (
            number < 5
        )
    assert told.endswith(f"All are in {unusable}")
    assert pd.read_csv(unusable).path.tolist() == [f"France/gone{n}.jpg" for n in range(8)]
    assert len(list_sources([source], max_rejected=0.4, unusable=unusable)[0]) == 12
    assert not unusable.exists()


@pytest.mark.parametrize(("count", "share", "allowed"), [(20, 0.01, 1), (300, 0.01, 3), (20, 0, 0)])
def test_one_image_of_several_may_be_unusable_unless_none_may(count, share, allowed):
    assert most_allowed(count, share) == allowed
    assert most_allowed(1, 0.01) < 1


def test_all_folders_of_no_country_are_named_in_one_message(tmp_path):
    source = countries(tree(tmp_path, *(f"{n}/a.jpg" for n in ("Frnace", "Congo", "Japan", "x"))))
    with pytest.raises(SourceError) as error:
        list_source(source)
    text = str(error.value)
    assert "3 folders of" in text
    assert "'Frnace' is not the name of a country (did you mean France?)" in text
    assert "'Congo' can mean Democratic Republic of the Congo (CD) or Republic of the Congo" in text
    assert "'x' is not" in text


# ------------------------------------------------------------------ files that are used twice


def shared(tmp_path, change):
    """Two sources, the second changed by `change(folder of the first, folder of the second)`."""
    one, two = tree(tmp_path / "one", "France/a.jpg", "Japan/b.jpg"), tmp_path / "two"
    change(one, two)
    return [countries(one, "one"), countries(two, "two")]


FOLDERS = {
    "a link to the folder": lambda one, two: two.symlink_to(one),
    "a link to a folder above": lambda one, two: two.symlink_to(one.parent),
    "a link to a folder below": lambda one, two: two.symlink_to(one / "France"),
}
FILES = {
    "a link to a country": lambda one, two: (two.mkdir(), (two / "FR").symlink_to(one / "France")),
    "links to files": lambda one, two: (
        tree(two, "Japan/x.jpg").joinpath("Japan/y.jpg").symlink_to(one / "France/a.jpg")
    ),
    "hard links": lambda one, two: os.link(
        one / "France/a.jpg", tree(two, "FR/c.jpg") / "FR/a.jpg"
    ),
}


@pytest.mark.parametrize("change", FOLDERS.values(), ids=FOLDERS)
def test_two_sources_in_one_folder_are_refused_before_anything_is_listed(tmp_path, change):
    with pytest.raises(SourceError, match=r"sources\.(one|two) and sources\.(one|two) share files"):
        check_folders(sources := shared(tmp_path, change))
    with pytest.raises(SourceError, match="share files: the images of .* are in "):
        list_sources(sources, max_rejected=0)


@pytest.mark.parametrize("change", FILES.values(), ids=FILES)
def test_two_sources_with_the_same_files_are_refused_by_the_index(tmp_path, change):
    sources = shared(tmp_path, change)
    check_folders(sources)
    with pytest.raises(SourceError, match="sources.one and sources.two share 1 files, such as"):
        list_sources(sources, max_rejected=0)


def test_the_same_path_is_one_folder_however_it_is_written(tmp_path):
    one = countries(tree(tmp_path / "world", "France/a.jpg"), "one")
    for path in (tmp_path / "./world/", tmp_path / "world/../world", tmp_path / "world"):
        test_set = replace(one, name="test", collection="test", path=path)
        with pytest.raises(SourceError, match=r"sources\.one and test_sets\.test share files"):
            check_folders([one, test_set])
    missing = [replace(one, name=n, path=tmp_path / "missing") for n in ("one", "two")]
    with pytest.raises(SourceError, match="share files"):
        check_folders(missing)


def test_sources_beside_each_other_in_one_path_share_nothing(tmp_path):
    tree(tmp_path, "train/France/a.jpg", "test/France/a.jpg", "0.png", ".old/France/x.jpg")
    (tmp_path / "t.csv").write_text("latitude,longitude\n48.85,2.35\n")
    sources = [
        countries(tmp_path, "train", images="train"),
        countries(tmp_path, "test", images="test"),
        countries(tmp_path, "old", images=".old"),
        Source("numbered", "street", "coordinates_table", tmp_path, ".", "t.csv"),
    ]
    check_folders(sources)
    assert len(list_sources(sources, max_rejected=0)[0]) == 4


def test_a_file_that_is_there_again_by_a_link_counts_once(tmp_path):
    source = countries(tree(tmp_path, "France/a.jpg", "France/b.jpg", "Japan/c.jpg"))
    (tmp_path / "FR").symlink_to("France")
    (tmp_path / "Japan/d.jpg").symlink_to("../France/b.jpg")
    found = {item.path: item.country if not item.rejected else "" for item in list_source(source)}
    assert found == {
        "France/a.jpg": "FR",
        "FR/a.jpg": "",  # one country
        "France/b.jpg": "",
        "FR/b.jpg": "",
        "Japan/d.jpg": "",  # two countries
        "Japan/c.jpg": "JP",
    }
    (tmp_path / "Iceland").symlink_to(".")  # a circle
    assert len(list_source(source)) == 6


def test_an_archive_that_is_there_again_by_a_link_is_refused(tmp_path):
    make_zip(tmp_path / "a.zip", ["0.jpg"])
    (tmp_path / "b.zip").symlink_to("a.zip")
    (tmp_path / "t.csv").write_text("id,latitude,longitude\n0,48.85,2.35\n")
    source = Source("s", "street", "metadata_table", tmp_path, ".", "t.csv")
    with pytest.raises(SourceError, match=r"a\.zip and b\.zip in .* are one file; delete"):
        list_source(source)
