"""Images that cannot be read are left out; a disk that cannot be reached is no such image."""

from __future__ import annotations

import errno
import io
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geoloc.corpus.archives import ImageFiles
from geoloc.corpus.index_tables import MANIFEST_COLUMNS, REJECTED_COLUMNS, SHARD_COLUMNS
from geoloc.corpus.prepare import prepare_shard
from geoloc.corpus.quarantine import collect_quarantine
from geoloc.corpus.sources import Source, SourceError
from geoloc.errors import FileError
from geoloc.files import file_hash
from geoloc.stores import read_images
from tests.corpus.test_archives import make_tar, make_zip


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), "red").save(buffer, "PNG")
    return buffer.getvalue()


class Shard:
    """A manifest of some paths of a source, to be packed into files beside it."""

    def __init__(self, folder: Path, source: Source, paths: list[str]) -> None:
        rows = [{"image_id": p, "source": source.name, "path": p, "split": "test"} for p in paths]
        folder.mkdir(exist_ok=True)
        self.source, self.manifest = source, folder / "manifest.csv"
        self.images, self.quarantine = folder / "images.h5", folder / "quarantine.csv"
        pd.DataFrame(rows, columns=MANIFEST_COLUMNS).to_csv(self.manifest, index=False)

    def pack(self, **limits) -> dict[str, str]:
        """Pack it. Returns the reason of each image that was left out."""
        sources = {self.source.name: self.source}
        prepare_shard(self.manifest, sources, self.images, self.quarantine, **limits)
        table = pd.read_csv(self.quarantine)
        return dict(zip(table.path, table.reason, strict=True))


@pytest.fixture
def photographs(tmp_path) -> Source:
    """A source of a usable photograph and of what lies about in folders."""
    folder = tmp_path / "photographs/images"
    folder.mkdir(parents=True)
    (folder / "good.png").write_bytes(picture())
    (folder / "bad.png").write_bytes(picture()[:60])
    (folder / "folder.png").mkdir()
    (folder / "circle.png").symlink_to("circle.png")
    return Source("s", "street", "country_folders", tmp_path / "photographs", "images")


def test_what_is_wrong_with_one_file_leaves_the_others(photographs, tmp_path):
    names = ["bad.png", "circle.png", "folder.png", "gone.png", "good.png", "good.png/x.png"]
    shard = Shard(tmp_path / "out", photographs, names)
    reasons = shard.pack()
    assert [image_id for image_id, _ in read_images(shard.images)] == ["good.png"]
    assert list(reasons) == [name for name in names if name != "good.png"]
    assert reasons["gone.png"] == "No such file or directory"
    assert reasons["folder.png"] == "a folder, not a file"
    assert reasons["circle.png"] == "Too many levels of symbolic links"
    assert "damaged" in reasons["bad.png"]


def test_what_never_ends_or_is_too_large_is_left_out_at_once(photographs, tmp_path):
    """A job would wait at a pipe, and read a device and a large file until memory ends."""
    folder = photographs.folder
    os.mkfifo(folder / "pipe.png")
    (folder / "zero.png").symlink_to("/dev/zero")
    (folder / "huge.png").write_bytes(picture())
    os.truncate(folder / "huge.png", 20_000_000_000)
    names = ["good.png", "huge.png", "pipe.png", "zero.png"]
    reasons = Shard(tmp_path / "out", photographs, names).pack()
    assert list(reasons) == names[1:]
    assert reasons["pipe.png"] == "a FIFO, not a file"
    assert reasons["zero.png"] == "a device, not a file"
    assert reasons["huge.png"].startswith("has 20000000000 bytes, more than")


def test_an_image_above_the_limit_of_pixels_says_how_to_raise_it(photographs, tmp_path):
    shard = Shard(tmp_path / "out", photographs, ["good.png"])
    (reason,) = shard.pack(max_megapixels=0.001).values()
    assert reason.startswith("has 0.001536 megapixels, more than 0.001; raise prepare.max_megap")
    assert shard.pack(max_megapixels=0.002) == {}


def test_every_file_is_packed_or_has_a_reason(photographs, tmp_path):
    """Also where its pixels cannot become RGB."""
    pixels = np.full((8, 8), np.nan, np.float32)
    Image.fromarray(pixels).save(photographs.folder / "nan.tif")
    reasons = Shard(tmp_path / "out", photographs, ["good.png", "nan.tif"]).pack()
    assert reasons == {"nan.tif": "has values that are NaN or infinite; save it with 8 bits"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        *(
            (OSError(number, os.strerror(number)), os.strerror(number))
            for number in (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENAMETOOLONG)
        ),
        (OSError("Invalid data stream"), "Invalid data stream"),  # bz2, in a zip archive
    ],
)
def test_rights_and_damage_are_problems_of_a_file(
    photographs, tmp_path, monkeypatch, error, reason
):
    def fail(files, path):
        raise error

    monkeypatch.setattr(ImageFiles, "read", fail)
    assert Shard(tmp_path / "out", photographs, ["good.png"]).pack() == {"good.png": reason}


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "ETIMEDOUT", "EMFILE", "ENFILE", "ENOSPC"])
def test_an_error_of_the_machine_fails_the_job(photographs, tmp_path, monkeypatch, name):
    def fail(files, path):
        raise OSError(getattr(errno, name), name)

    monkeypatch.setattr(ImageFiles, "read", fail)
    shard = Shard(tmp_path / "out", photographs, ["good.png"])
    with pytest.raises(OSError) as raised:  # noqa: PT011  told by its number
        shard.pack()
    assert raised.value.errno == getattr(errno, name)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.csv"]


@pytest.mark.parametrize("state", ["gone", "empty", "a file", "a link to nowhere"])
@pytest.mark.parametrize("path", ["France/a.jpg", "00.zip/a.jpg", "sub/00.tar/a.jpg"])
def test_a_source_that_cannot_be_reached_fails_the_job_and_is_named(tmp_path, state, path):
    folder = tmp_path / "data"
    if state == "empty":
        folder.mkdir()
    elif state == "a file":
        folder.touch()
    elif state == "a link to nowhere":
        folder.symlink_to("unmounted")
    shard = Shard(tmp_path / "out", Source("s", "street", "metadata_table", folder), [path])
    with pytest.raises(SourceError, match=f"source s: the folder {folder} .*[Mm]ount"):
        shard.pack()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.csv"]


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_missing_archive_is_no_unreachable_source(tmp_path, make):
    source = Source("s", "street", "metadata_table", tmp_path / "data")
    source.folder.mkdir()
    make(source.folder / "00.zip" if make is make_zip else source.folder / "00.tar", ["a.jpg"])
    shard = Shard(tmp_path / "out", source, ["01.zip/a.jpg", "01.tar/b.jpg"])
    assert set(shard.pack().values()) == {"No such file or directory"}


# ----------------------------------------------------------------------------- quarantine


def shards(folder: Path, **unreadable: int) -> list[Path]:
    """CSVs of twelve shards, six of `street` and six of `photos`. unreadable: how many images of a
    source each of its collection's shards could not read; that of `0005` could read all."""
    paths = []
    for collection, source in (("street", "geoguessr"), ("photos", "photos")):
        for number in range(6):
            count = unreadable.get(source, 0) if number < 5 else 0
            rows = [(source, f"{number}/{i}.jpg", "damaged") for i in range(count)]
            path = folder / f"quarantine/{collection}/FR/{number:04d}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows, columns=REJECTED_COLUMNS).to_csv(path, index=False)
            paths.append(path)
    return paths


@pytest.fixture
def rejected(tmp_path) -> Path:
    path = tmp_path / "rejected.csv"
    pd.DataFrame([("photos", "x.jpg", "no place")], columns=REJECTED_COLUMNS).to_csv(
        path, index=False
    )
    return path


SIZES = {"geoguessr": 100, "photos": 100}


def test_a_few_unreadable_images_are_gathered_with_what_the_index_left_out(tmp_path, rejected):
    rows = collect_quarantine(rejected, shards(tmp_path, geoguessr=1), SIZES, 0.05)
    assert len(rows) == 6
    assert rows == sorted(rows)
    assert rows[-1] == ("photos", "x.jpg", "no place")


@pytest.mark.parametrize(("source", "collection"), [("geoguessr", "street"), ("photos", "photos")])
def test_too_many_unreadable_images_say_which_files_to_delete(
    tmp_path, rejected, source, collection
):
    paths = shards(tmp_path, **{source: 2})
    with pytest.raises(SourceError, match=f"{source}: 10 of 100 images") as error:
        collect_quarantine(rejected, paths, SIZES, 0.05)
    named = [path for path in paths if str(path) in str(error.value)]
    expected = [p for p in paths if p.parts[-3] == collection and p.name != "0005.csv"]
    assert named == expected
    (command,) = re.findall("`(.*)`", str(error.value))
    subprocess.run(command, shell=True, check=True)
    assert [path for path in paths if not path.exists()] == expected


@pytest.fixture
def indexed(tmp_path, photographs) -> Shard:
    """A shard of two photographs in an index."""
    folder = tmp_path / "index/shards/street/NA"
    folder.mkdir(parents=True)
    shard = Shard(folder, photographs, ["good.png", "bad.png"])
    shard.manifest = shard.manifest.rename(folder / "0000.csv")
    text = shard.manifest.read_text().replace(",,,,test", ",,,NA,test")
    shard.manifest.write_text(text)
    digest = file_hash(shard.manifest)
    lines = f"street,NA,0000,2,s,{digest}\nstreet,NA,0001,1,s,{digest}\n"
    (tmp_path / "index/shards.csv").write_text(f"{','.join(SHARD_COLUMNS)},sha256\n{lines}")
    return shard


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("bad.png,s,bad.png,,,NA,test\n", "", r"it has 1 images, but 2 in \S+/shards\.csv"),
        ("bad.png", "good.png", "good.png occurs twice"),
        ("bad.png,,,NA", "bad.png,,,FR", "bad.png is of FR"),
        ("image_id,source", "image,source", "no column image_id"),
    ],
)
def test_a_manifest_that_lost_images_or_is_anothers_is_no_shard(indexed, old, new, reason):
    assert "bad.png" in indexed.pack()
    text = indexed.manifest.read_text()
    indexed.manifest.write_text(text.replace(old, new))
    with pytest.raises(FileError, match=rf"NA/0000\.csv is damaged \({reason}"):
        indexed.pack()


def test_a_manifest_in_the_place_of_another_one_of_its_country_and_size_is_refused(indexed):
    others = indexed.manifest.read_text().replace("bad.png", "gone.png")
    indexed.manifest.write_text(others)
    with pytest.raises(FileError, match=r"NA/0000\.csv is damaged \(its SHA-256 is not the one in"):
        indexed.pack()
    table = indexed.manifest.parents[3] / "shards.csv"  # as earlier commits wrote it
    lines = [line.rpartition(",")[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join([*lines, ""]))
    assert list(indexed.pack()) == ["gone.png"]


def test_a_manifest_of_a_shard_that_the_index_does_not_have_is_refused(indexed):
    other = indexed.manifest.with_stem("0002")
    indexed.manifest = indexed.manifest.rename(other)
    with pytest.raises(FileError, match=r"shards\.csv has no line for it\); run snakemake index"):
        indexed.pack()
