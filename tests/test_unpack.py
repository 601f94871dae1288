"""Archives of others are unpacked whole, into their folder, and no further."""

from __future__ import annotations

import io
import tarfile
import zipfile
from types import SimpleNamespace

import pytest

from geoloc import unpack as unpacking
from geoloc.archives import ArchiveError
from geoloc.unpack import find_archive, unpack


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
    with pytest.raises(ArchiveError, match="more room than is free"):
        unpack(tmp_path / "archive", tmp_path / "out")


@both_kinds
def test_an_archive_that_was_cut_off_leaves_nothing_behind(tmp_path, make):
    make(tmp_path / "whole", {f"{i}.jpg": bytes([i]) * 5000 for i in range(9)})
    (tmp_path / "archive").write_bytes((tmp_path / "whole").read_bytes()[:-200])
    (tmp_path / "whole").unlink()
    with pytest.raises(ArchiveError, match="archive"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_what_is_no_archive_is_said_to_be_none(tmp_path):
    (tmp_path / "archive").write_text("<html>please log in</html>")
    with pytest.raises(ArchiveError, match="neither a zip nor a tar"):
        unpack(tmp_path / "archive", tmp_path / "out")


def test_of_two_archives_none_is_guessed(tmp_path):
    assert find_archive(tmp_path / "set") is None
    (tmp_path / "set.tar.gz").touch()
    assert find_archive(tmp_path / "set") == tmp_path / "set.tar.gz"
    (tmp_path / "set.zip").touch()
    with pytest.raises(ArchiveError, match="take one of them away"):
        find_archive(tmp_path / "set")


def test_an_encrypted_archive_is_left_to_its_owner(tmp_path):
    make_zip(tmp_path / "plain", {"a.jpg": b"x"})
    data = bytearray((tmp_path / "plain").read_bytes())
    data[6] |= 1  # the flag of encryption, in the header of the file ...
    data[data.index(b"PK\x01\x02") + 8] |= 1  # ... and in the list of files
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises(ArchiveError, match="encrypted.*by hand"):
        unpack(tmp_path / "archive", tmp_path / "out")
