"""Archives of others are unpacked whole, into their folder, and no further."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from geoloc.corpus import unpack as unpacking
from geoloc.corpus.archives import ArchiveError
from geoloc.corpus.unpack import DamagedArchive, find_archive, unpack
from geoloc.logs import expected_at


def make_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)


def make_tar(path, files, links=()):
    with tarfile.open(path, "w:gz") as file:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            file.addfile(member)


both_kinds = pytest.mark.parametrize("make", [make_zip, make_tar])


@both_kinds
def test_an_archive_is_unpacked_with_its_odd_names(tmp_path, make):
    files = {"a/ok.jpg": b"x", "Côte d'Ivoire/b c.jpg": b"yz"}
    make(tmp_path / "archive", files)
    unpack(tmp_path / "archive", tmp_path / "out")
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == files
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "out"]


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg"])
@both_kinds
def test_no_member_of_an_archive_gets_outside_its_folder(tmp_path, make, name):
    make(tmp_path / "archive", {"a/ok.jpg": b"x", name: b"x"})
    try:
        unpack(tmp_path / "archive", tmp_path / "sub/out")
    except ArchiveError:
        assert not (tmp_path / "sub/out").exists()
    assert not list(tmp_path.rglob("sub/evil.jpg")) + list(tmp_path.glob("evil.jpg"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret"])
def test_links_out_of_an_archive_are_refused(tmp_path, target):
    make_tar(tmp_path / "archive", {}, [("a/link", target)])
    with pytest.raises(ArchiveError, match="cannot unpack"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@both_kinds
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, make, monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 1 << 20)
    make(tmp_path / "archive", {"a.jpg": bytes(8 << 20), "b.jpg": bytes(8 << 20)})
    assert (tmp_path / "archive").stat().st_size < 40_000
    with pytest.raises(ArchiveError, match="more than 20 times its size"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_an_archive_that_does_not_fit_on_the_disk_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    make_zip(tmp_path / "archive", {"a.jpg": bytes(2000)})
    with pytest.raises(ArchiveError, match="not enough disk space"):
        unpack(tmp_path / "archive", tmp_path / "out")


@both_kinds
def test_an_archive_that_was_cut_off_leaves_nothing_behind(tmp_path, make):
    make(tmp_path / "whole", {f"{i}.jpg": bytes([i]) * 5000 for i in range(9)})
    (tmp_path / "archive").write_bytes((tmp_path / "whole").read_bytes()[:-200])
    (tmp_path / "whole").unlink()
    with pytest.raises(ArchiveError, match="archive"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def plain_tar(path) -> bytes:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as file:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 1000
            file.addfile(member, io.BytesIO(name[:1].encode() * 1000))
    return path.read_bytes()


MEMBER = 3 * 512  # bytes of a header and 1000 bytes of data


def refuses(folder, data) -> bool:
    """Whether an archive is refused as damaged, with its name, and nothing is left behind."""
    (folder / "archive").write_bytes(data)
    with pytest.raises(DamagedArchive, match=f"{folder / 'archive'}.*again"):
        unpack(folder / "archive", folder / "out")
    return [path.name for path in folder.iterdir()] == ["archive"]


@pytest.mark.parametrize("end", [MEMBER, 2 * MEMBER, 2 * MEMBER + 100, 3 * MEMBER])
def test_a_tar_that_was_cut_off_at_a_header_is_not_taken_for_whole(tmp_path, end):
    assert refuses(tmp_path, plain_tar(tmp_path / "archive")[:end])


def test_a_damaged_header_is_not_taken_for_the_end_of_a_tar(tmp_path):
    data = bytearray(plain_tar(tmp_path / "archive"))
    data[MEMBER] ^= 0xFF
    assert refuses(tmp_path, data)


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
@pytest.mark.parametrize("damage", ["cut", "checksum", "middle"])
def test_the_checksum_of_a_compressed_tar_is_checked(tmp_path, module, damage):
    """It stands behind the last member, where unpacking would end."""
    padded = plain_tar(tmp_path / "archive") + bytes(1 << 20)
    data = bytearray(module.compress(padded))
    at = {"checksum": -6, "middle": len(data) // 2}.get(damage)
    if at is None:
        data = data[:-4]
    else:
        data[at] ^= 0xFF
    assert refuses(tmp_path, data)


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
@pytest.mark.parametrize("rest", [b"x", b"data of another archive", bytes(70_000) + b"x"])
def test_data_after_a_compressed_tar_are_refused_and_zeros_are_not(tmp_path, module, rest):
    """It is no damage: fetched again, the archive would be the same."""
    data = module.compress(plain_tar(tmp_path / "archive"))
    (tmp_path / "archive").write_bytes(data + rest)
    with pytest.raises(ArchiveError, match="extra bytes after its compressed data") as error:
        unpack(tmp_path / "archive", tmp_path / "out")
    assert not isinstance(error.value, DamagedArchive)
    (tmp_path / "archive").write_bytes(data + bytes(len(rest)))
    unpack(tmp_path / "archive", tmp_path / "out")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_python_would_expand_without_limit_is_refused(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "archive", "w", method) as file:
        file.writestr("a.jpg", bytes(1000))
    with pytest.raises(ArchiveError, match="a.jpg is a file with a compression other than deflate"):
        unpack(tmp_path / "archive", tmp_path / "out")


def test_nothing_of_a_zip_is_written_before_all_of_it_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "_write", lambda *_: pytest.fail("a file is written"))
    make_zip(tmp_path / "archive", {"a.jpg": b"x", "../b.jpg": b"y"})
    with pytest.raises(ArchiveError, match="points outside"):
        unpack(tmp_path / "archive", tmp_path / "out")


@both_kinds
def test_a_full_disk_is_no_damage_to_the_archive(tmp_path, make, monkeypatch):
    make(tmp_path / "archive", {"a.jpg": b"x", "b.jpg": b"y"})
    real = os.open

    def full(path, flags, mode=0o777, **options):
        return real("/dev/full" if str(path).endswith("b.jpg") else path, flags & ~os.O_EXCL, mode)

    monkeypatch.setattr(unpacking.os, "open", full)
    with pytest.raises(ArchiveError, match="archive: .*No space left.*run again") as error:
        unpack(tmp_path / "archive", tmp_path / "out")
    assert not isinstance(error.value, DamagedArchive)
    assert expected_at(error.value, error.tb)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_what_is_no_archive_is_said_to_be_none(tmp_path):
    (tmp_path / "archive").write_text("<html>please log in</html>")
    with pytest.raises(ArchiveError, match="not a zip or tar archive"):
        unpack(tmp_path / "archive", tmp_path / "out")


def test_of_two_archives_none_is_guessed(tmp_path):
    assert find_archive(tmp_path / "set") is None
    (tmp_path / "set.tar.gz").touch()
    assert find_archive(tmp_path / "set") == tmp_path / "set.tar.gz"
    (tmp_path / "set.zip").touch()
    with pytest.raises(ArchiveError, match="remove one of them"):
        find_archive(tmp_path / "set")


def test_an_encrypted_archive_is_left_to_its_owner(tmp_path):
    make_zip(tmp_path / "plain", {"a.jpg": b"x"})
    data = bytearray((tmp_path / "plain").read_bytes())
    data[6] |= 1  # the flag of encryption, in the header of the file ...
    data[data.index(b"PK\x01\x02") + 8] |= 1  # ... and in the list of files
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises(ArchiveError, match="encrypted.*by hand"):
        unpack(tmp_path / "archive", tmp_path / "out")
