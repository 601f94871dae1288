"""Images in zip and tar archives, which are never unpacked."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import sqlite3
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from geoloc.corpus import archives
from geoloc.corpus.archives import ArchiveError, ImageFiles, list_members
from geoloc.images import UnreadableImage

NAMES = ["00/a b.jpg", '00/l\'été "1".PNG', "b.jpg", "x/" + 30 * "long/" + "c.webp"]


def content(name: str) -> bytes:
    return name.encode() * 400


def make_zip(path: Path, names=NAMES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, content(name))
    return path


def make_tar(path: Path, names=NAMES, tar_format=tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=tar_format) as file:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(content(name))
            file.addfile(info, io.BytesIO(content(name)))
    return path


MAKERS = {"shard 'é'.zip": make_zip, "shard 'é'.tar": make_tar}
both = pytest.mark.parametrize("archive", MAKERS)


def usable(path: Path) -> list[str]:
    return sorted(member.name for member in list_members(path) if not member.problem)


def problems(path: Path) -> dict[str, str]:
    return {member.name: member.problem for member in list_members(path) if member.problem}


@both
def test_every_image_is_listed_and_read_as_from_a_folder(tmp_path, archive):
    others = ["notes.txt", "00/.hidden.jpg", "__MACOSX/00/._a b.jpg", "no_suffix"]
    MAKERS[archive](tmp_path / archive, [*NAMES, *others])
    assert usable(tmp_path / archive) == sorted(NAMES)
    with ImageFiles(tmp_path) as files:
        assert all(files.read(f"{archive}/{name}") == content(name) for name in NAMES)


def test_gnu_names_and_leading_dots_of_a_tar_are_read(tmp_path):
    make_tar(tmp_path / "a.tar", [f"./{name}" for name in NAMES], tarfile.GNU_FORMAT)
    assert usable(tmp_path / "a.tar") == sorted(NAMES)
    with ImageFiles(tmp_path) as files:
        assert files.read(f"a.tar/{NAMES[1]}") == content("./" + NAMES[1])


@both
@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg"])
def test_a_member_that_points_outside_is_a_problem_and_cannot_be_read(tmp_path, archive, name):
    (tmp_path / "evil.jpg").write_bytes(b"secret")
    (tmp_path / "data").mkdir()
    MAKERS[archive](tmp_path / "data" / archive, [name, "ok.jpg"])
    assert problems(tmp_path / "data" / archive) == {name: "its path points outside the archive"}
    with ImageFiles(tmp_path / "data") as files, pytest.raises(UnreadableImage):
        files.read(f"{archive}/{name.lstrip('/')}")


@both
def test_a_missing_member_says_so(tmp_path, archive):
    MAKERS[archive](tmp_path / archive)
    with ImageFiles(tmp_path) as files:
        with pytest.raises(UnreadableImage, match="missing from its archive"):
            files.read(f"{archive}/00/gone.jpg")
        with pytest.raises(OSError, match="No such file"):
            files.read("other.zip/a.jpg")


def test_an_encrypted_member_is_listed_with_its_problem(tmp_path):
    data = bytearray(make_zip(tmp_path / "a.zip", ["a.jpg", "b.jpg"]).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # flags of the first member in the directory
    (tmp_path / "a.zip").write_bytes(data)
    assert problems(tmp_path / "a.zip") == {"a.jpg": "an encrypted file in its archive"}
    with ImageFiles(tmp_path) as files, pytest.raises(UnreadableImage, match="encrypted"):
        files.read("a.zip/a.jpg")


def test_a_damaged_member_leaves_the_others_readable(tmp_path):
    data = bytearray(make_zip(tmp_path / "a.zip", ["a.jpg", "b.jpg"]).read_bytes())
    data[40] ^= 0xFF  # in the data of the first member
    (tmp_path / "a.zip").write_bytes(data)
    with ImageFiles(tmp_path) as files:
        with pytest.raises(UnreadableImage, match="damaged in its archive"):
            files.read("a.zip/a.jpg")
        assert files.read("a.zip/b.jpg") == content("b.jpg")


@pytest.mark.parametrize("archive", ["a.zip", "a.tar"])
@pytest.mark.parametrize("damage", ["cut", "no archive", "compressed", "empty"])
def test_an_archive_that_is_not_whole_stops_the_listing(tmp_path, archive, damage):
    path = {"a.zip": make_zip, "a.tar": make_tar}[archive](tmp_path / archive)
    data = path.read_bytes()
    damaged = {"cut": data[: len(data) * 3 // 5], "no archive": b"x" * 2048, "empty": b""}
    path.write_bytes(damaged.get(damage, gzip.compress(data)))
    with pytest.raises(ArchiveError, match=rf"{archive} is not a complete"):
        list(list_members(path))
    assert [p.name for p in tmp_path.iterdir()] == [archive]


def test_a_member_that_is_shorter_than_it_says_is_damaged(tmp_path):
    """Its checksum is right: that of what is there."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as file:
        file.writestr("a.jpg", b"content")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 8)
    (tmp_path / "a.zip").write_bytes(data)
    with ImageFiles(tmp_path) as files, pytest.raises(UnreadableImage, match="1 of its bytes"):
        files.read("a.zip/a.jpg")


def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path):
    path = make_tar(tmp_path / "a.tar", ["a.jpg", "b.jpg", "c.jpg"])
    data = bytearray(path.read_bytes())
    data[data.index(b"b.jpg\0")] = 0xFF
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged header"):
        list(list_members(path))


def test_a_tar_that_was_cut_off_at_a_header_is_not_taken_for_whole(tmp_path):
    path = make_tar(tmp_path / "a.tar", ["a.jpg", "b.jpg", "c.jpg"])
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"b.jpg\0")])
    with pytest.raises(ArchiveError, match="a.tar is not a complete.*cut off"):
        list(list_members(path))


def test_links_in_a_tar_are_a_problem(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            info = tarfile.TarInfo(f"{kind.decode()}.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
    kinds = ["a hard link", "a symbolic link", "a character device"]
    assert sorted(problems(tmp_path / "a.tar").values()) == sorted(
        f"{kind} in its archive" for kind in kinds
    )


@both
@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "./a.jpg"),
        ("a.jpg", "A.JPG"),
        ("\u00e9.jpg", "e\u0301.jpg"),
        ("Peru/a.jpg", "peru /a.jpg"),
        ("x/a.jpg", "x\\a.jpg"),
    ],
)
def test_of_images_that_may_be_one_file_none_is_used(tmp_path, archive, names):
    path = MAKERS[archive](tmp_path / archive, ["ok.jpg", *names])
    assert usable(path) == ["ok.jpg"]
    reasons = {"several files in its archive have this name"}
    reasons |= {f"has the same name as {name} on some file systems" for name in names}
    with ImageFiles(tmp_path) as files:
        for name, problem in problems(path).items():
            assert problem in reasons
            with pytest.raises(UnreadableImage, match=re.escape(problem)):
                files.read(f"{archive}/{name}")


@both
def test_backslashes_separate_and_files_of_systems_do_not_exist(tmp_path, archive):
    names = ["00\\1.jpg", "__MACOSX/00/2.jpg", "00/._1.jpg", "@eaDir/1.jpg", "$RECYCLE.BIN/1.jpg"]
    path = MAKERS[archive](tmp_path / archive, names)
    assert [member.name for member in list_members(path)] == ["00/1.jpg"]
    with ImageFiles(tmp_path) as files:
        assert files.read(f"{archive}/00/1.jpg") == content("00\\1.jpg")


def test_links_in_a_zip_are_a_problem(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("link.jpg")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
    assert problems(tmp_path / "a.zip") == {"link.jpg": "a symbolic link in its archive"}


@pytest.mark.parametrize("first", ["a.zip", "b.zip"])
def test_of_two_zips_in_one_file_none_is_lost_in_silence(tmp_path, first):
    make_zip(tmp_path / "a.zip", ["a.jpg"])
    make_zip(tmp_path / "b.zip", ["b.jpg"])
    joined = tmp_path / "both.zip"
    second = {"a.zip": "b.zip", "b.zip": "a.zip"}[first]
    joined.write_bytes((tmp_path / first).read_bytes() + (tmp_path / second).read_bytes())
    with pytest.raises(ArchiveError, match="both.zip.*bytes before its first member"):
        usable(joined)


def test_of_two_tars_in_one_file_none_is_lost_in_silence(tmp_path):
    one = make_tar(tmp_path / "a.tar", ["a.jpg"]).read_bytes()
    two = make_tar(tmp_path / "b.tar", ["b.jpg"]).read_bytes()
    (tmp_path / "both.tar").write_bytes(one + two)
    with pytest.raises(ArchiveError, match="both.tar.*extra data after its end"):
        usable(tmp_path / "both.tar")


class CountingFile(io.FileIO):
    """A file that counts the bytes read of it."""

    count = 0

    def readinto(self, buffer):
        read = super().readinto(buffer)
        CountingFile.count += read
        return read

    def read(self, size=-1):
        data = super().read(size)
        CountingFile.count += len(data)
        return data


def test_listing_a_tar_reads_headers_and_no_images(tmp_path, monkeypatch):
    names = [f"{i}.jpg" for i in range(20)]
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1 << 20
            file.addfile(info, io.BytesIO(bytes(1 << 20)))
    monkeypatch.setattr(CountingFile, "count", 0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode, buffering=-1: CountingFile(self, "r"))
        found = usable(path)
    assert found == sorted(names)
    assert 20 * 512 <= CountingFile.count < 32 * 1024  # 20 headers, the end and a sample


def test_the_members_of_a_tar_are_looked_up_once(tmp_path, monkeypatch):
    path = make_tar(tmp_path / "a.tar")
    first = usable(path)
    monkeypatch.setattr(tarfile, "open", lambda *a, **k: pytest.fail("walked through again"))
    assert usable(path) == first
    with ImageFiles(tmp_path) as files:
        assert files.read("a.tar/b.jpg") == content("b.jpg")


def test_a_changed_tar_is_looked_up_again(tmp_path):
    path = make_tar(tmp_path / "a.tar", ["a.jpg"])
    assert usable(path) == ["a.jpg"]
    make_tar(path, ["b.jpg", "c.jpg"])
    os.utime(path, ns=(0, 0))
    assert usable(path) == ["b.jpg", "c.jpg"]


@pytest.mark.parametrize("spoiled", [b"", b"no database", b"SQLite format 3\0" + bytes(4096)])
def test_a_spoiled_list_of_members_is_made_again(tmp_path, spoiled):
    path = make_tar(tmp_path / "a.tar", ["a.jpg"])
    (tmp_path / "a.tar.members").write_bytes(spoiled)
    assert usable(path) == ["a.jpg"]


def swapped(folder: Path) -> Path:
    """A tar whose two images changed places after they were listed; size and time are the same."""
    path = make_tar(folder / "a.tar", ["a.jpg", "longer.jpg"])
    assert usable(path) == ["a.jpg", "longer.jpg"]
    before = path.stat()
    make_tar(path, ["longer.jpg", "a.jpg"])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    return path


def test_a_tar_that_changed_under_its_list_is_listed_again(tmp_path):
    path = swapped(tmp_path)
    assert usable(path) == ["a.jpg", "longer.jpg"]
    with ImageFiles(tmp_path) as files:
        for name in ("a.jpg", "longer.jpg"):
            assert files.read(f"a.tar/{name}") == content(name)


def test_a_list_of_another_tar_never_gives_another_images_bytes(tmp_path, monkeypatch):
    """Also where size, time and the sample of blocks are the same: the header is compared."""
    monkeypatch.setattr("geoloc.corpus.archives.tars.SAMPLES", 0)
    make_tar(tmp_path / "a.tar", ["a.jpg", "b.jpg", "c.jpg"])
    usable(tmp_path / "a.tar")
    other = (tmp_path / "a.tar.members").read_bytes()
    before = (tmp_path / "a.tar").stat()
    (tmp_path / "a.tar.members").unlink()
    make_tar(tmp_path / "a.tar", ["b.jpg", "a.jpg", "d.jpg"])
    (tmp_path / "a.tar.members").write_bytes(other)
    os.utime(tmp_path / "a.tar", ns=(before.st_atime_ns, before.st_mtime_ns))
    with ImageFiles(tmp_path) as files:
        assert files.read("a.tar/a.jpg") == content("a.jpg")
        assert files.read("a.tar/d.jpg") == content("d.jpg")
        with pytest.raises(UnreadableImage, match="missing from its archive"):
            files.read("a.tar/c.jpg")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM members WHERE name = 'a.jpg'",
        "INSERT INTO members VALUES ('new.jpg', 0, 5, '')",
        "UPDATE members SET name = 'z.jpg' WHERE name = 'a.jpg'",
        "UPDATE members SET at = at + 512",
        "UPDATE members SET at = 'x', size = NULL",
        "UPDATE members SET at = -512",
        "UPDATE members SET size = 1 << 60",
        "UPDATE members SET problem = 'encrypted'",
        "UPDATE archive SET digest = NULL",
        "DROP TABLE members",
        "CREATE TABLE more (name)",
        "ALTER TABLE members RENAME TO m; CREATE VIEW members AS SELECT * FROM m",
    ],
)
def test_a_list_of_members_that_somebody_changed_is_made_again(tmp_path, statement):
    path = make_tar(tmp_path / "a.tar", ["a.jpg", "b.jpg"])
    assert usable(path) == ["a.jpg", "b.jpg"]
    with contextlib.closing(sqlite3.connect(tmp_path / "a.tar.members")) as index:
        index.executescript(statement)
    assert sorted(member.name for member in list_members(path)) == ["a.jpg", "b.jpg"]
    with ImageFiles(tmp_path) as files:
        assert files.read("a.tar/a.jpg") == content("a.jpg")


def test_a_damaged_page_of_the_list_of_members_costs_no_image(tmp_path):
    names = [f"{number:04}.jpg" for number in range(600)]
    path = make_tar(tmp_path / "a.tar", names)
    assert usable(path) == names
    index = bytearray((tmp_path / "a.tar.members").read_bytes())
    assert len(index) > 5 * 4096
    index[2 * 4096 :] = b"\xff" * (len(index) - 2 * 4096)
    (tmp_path / "a.tar.members").write_bytes(index)
    with ImageFiles(tmp_path) as files:
        assert all(files.read(f"a.tar/{name}") == content(name) for name in names)


def test_in_a_folder_that_cannot_be_written_a_tar_is_read_all_the_same(tmp_path, monkeypatch):
    path = make_tar(tmp_path / "a.tar")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("geoloc.corpus.archives.tars.atomic_path", refuse)
    assert usable(path) == sorted(NAMES)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]


@both
def test_images_that_are_sorted_open_each_archive_once(tmp_path, archive, monkeypatch):
    opened = []
    names = [f"{number}.{archive[-3:]}" for number in range(3)]
    for name in names:
        MAKERS[archive](tmp_path / name)
    real = archives.open_archive
    monkeypatch.setattr(archives, "open_archive", lambda path: opened.append(path) or real(path))
    with ImageFiles(tmp_path) as files:
        for path in sorted(f"{name}/{member}" for name in names for member in NAMES):
            files.read(path)
    assert [path.name for path in opened] == names


def test_an_unpacked_archive_has_the_same_paths(tmp_path):
    with zipfile.ZipFile(make_zip(tmp_path / "packed.zip")) as file:
        file.extractall(tmp_path / "00.zip")
    with ImageFiles(tmp_path) as files:
        assert files.read(f"00.zip/{NAMES[0]}") == content(NAMES[0])
