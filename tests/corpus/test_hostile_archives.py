"""Archives made to write outside their folder, or to use up memory, time and disk."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from geoloc.corpus import unpack as unpacking
from geoloc.corpus.archives import ArchiveError, ImageFiles, list_members
from geoloc.corpus.archives.base import Damage, Entry, Refused
from geoloc.corpus.archives.names import member_path
from geoloc.corpus.archives.streams import Decompressed, Stream
from geoloc.corpus.archives.tar_headers import next_member
from geoloc.corpus.archives.zips import BoundedFile
from geoloc.corpus.unpack import unpack
from geoloc.logs import expected_at
from tests.fuzz.cases import generator, run_case

LINK, HARD, FILE, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.REGTYPE, tarfile.DIRTYPE
MIB = 1 << 20
COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def tar_bytes(*members: tuple, layout: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of members given as name, type, and target of the link or content of the file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as file:
        for name, kind, value in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o777
            if kind == FILE:
                info.size = len(value)
                file.addfile(info, io.BytesIO(value))
            else:
                info.linkname = value
                file.addfile(info)
    return buffer.getvalue()


def typed(name: str, content: bytes) -> tuple:
    """A member of a tar: a folder where its name ends with /."""
    return (name, FOLDER, "") if name.endswith("/") else (name, FILE, content)


def zip_bytes(*members: tuple) -> bytes:
    """A zip of members given as name, content and, if it is no plain file, its Unix mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content, *mode in members:
            info = zipfile.ZipInfo(name)
            info.filename = name  # ZipInfo cuts it at a NUL
            info.external_attr = (mode or [0o100644])[0] << 16
            file.writestr(info, content)
    return buffer.getvalue()


@pytest.fixture
def target(tmp_path) -> Path:
    """A folder to unpack into, with files beside it that must not change."""
    for folder in ("beside", "beside/deeper"):
        (tmp_path / folder).mkdir()
    for name in ("beside/canary.jpg", "beside/deeper/canary.jpg", "canary.jpg"):
        (tmp_path / name).write_bytes(b"canary")
    return tmp_path / "out"


def state(top: Path) -> dict[str, tuple]:
    """Everything below a folder: kind, rights, links, time of change, and content of files."""
    found = {}
    for folder, folders, names in os.walk(top):
        for path in (Path(folder, name) for name in folders + names):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            times = () if path.is_dir() else (status.st_nlink, status.st_mtime_ns)
            found[path.relative_to(top).as_posix()] = status.st_mode, times, content
    return found


def refuse(archive: Path, target: Path, data: bytes) -> str:
    """Unpack an archive that must be refused in one line and without a trace; the message."""
    archive.write_bytes(data)
    before = state(target.parent)
    with pytest.raises(ArchiveError) as error:
        unpack(archive, target)
    assert state(target.parent) == before
    assert expected_at(error.value, error.tb)
    message = str(error.value)
    assert str(archive) in message
    assert "\n" not in message
    return message


# --------------------------------------------------------------------------- links and devices


def longer_than_path_max(end: tuple) -> list[tuple]:
    """Links that add up to a path longer than PATH_MAX, which `os.path.realpath` does not resolve
    to its end, so that `tarfile.data_filter` takes the last for harmless (CVE-2025-4517)."""
    folder, members, path = "d" * 247, [], ""
    for step in "abcdefghijklmnop":
        members += [(f"{path}{folder}", FOLDER, ""), (f"{path}{step}", LINK, folder)]
        path += f"{folder}/"
    long = "/".join("abcdefghijklmnop") + "/" + "l" * 254
    return [*members, (long, LINK, "../" * 16), ("escape", LINK, f"{long}/../beside"), end]


LINKS = {
    "through a link": [("to", LINK, "../beside"), ("to/canary.jpg", FILE, b"evil")],
    "through an absolute link": [("to", LINK, "/{top}/beside"), ("to/new.jpg", FILE, b"evil")],
    "through a link to the folder itself": [("to", LINK, "."), ("to/../new.jpg", FILE, b"evil")],
    "through two links": [
        ("a", FOLDER, ""), ("a/b", LINK, ".."), ("to", LINK, "a/b/../beside"),
        ("to/canary.jpg", FILE, b"evil"),
    ],
    "a hard link to a file outside": [
        ("x.jpg", HARD, "../beside/canary.jpg"), ("x.jpg", FILE, b"evil"),
    ],
    "a hard link to a link": [
        ("to", LINK, "../beside/canary.jpg"), ("x.jpg", HARD, "to"), ("x.jpg", FILE, b"evil"),
    ],
    "a link that is changed later": [
        ("real", FOLDER, ""), ("to", LINK, "real"), ("to", LINK, "../beside"),
        ("to/canary.jpg", FILE, b"evil"),
    ],
    "a folder that becomes a link": [
        ("a/x.jpg", FILE, b"ok"), ("a", LINK, "../beside"), ("a/canary.jpg", FILE, b"evil"),
    ],
    "a file that becomes a link": [
        ("x.jpg", FILE, b"ok"), ("x.jpg", LINK, "../canary.jpg"), ("x.jpg", FILE, b"evil"),
    ],
    "a file over a link": [("x.jpg", LINK, "../canary.jpg"), ("x.jpg", FILE, b"evil")],
    "a folder over a link": [("to", LINK, "../beside"), ("to", FOLDER, "")],
    "a longer path than PATH_MAX, a file": longer_than_path_max(
        ("escape/canary.jpg", FILE, b"evil")
    ),
    "a longer path than PATH_MAX, a hard link": [
        *longer_than_path_max(("x.jpg", HARD, "escape/canary.jpg")), ("x.jpg", FILE, b"evil"),
    ],
    "a link to itself": [("loop", LINK, "loop"), ("loop/x.jpg", FILE, b"evil")],
    "a harmless link": [("a.jpg", FILE, b"ok"), ("b.jpg", LINK, "a.jpg")],
    "a harmless hard link": [("a.jpg", FILE, b"ok"), ("b.jpg", HARD, "a.jpg")],
    "a character device": [("null.jpg", tarfile.CHRTYPE, "")],
    "a block device": [("disk.jpg", tarfile.BLKTYPE, "")],
    "a FIFO": [("pipe.jpg", tarfile.FIFOTYPE, "")],
    "a contiguous file": [("x.jpg", tarfile.CONTTYPE, "")],
    "a sparse file": [("x.jpg", tarfile.GNUTYPE_SPARSE, "")],
    "an unknown type": [("x.jpg", b"Z", "")],
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("trick", LINKS)
def test_no_link_of_a_tar_is_made_or_followed(tmp_path, target, trick, suffix):
    top = str(tmp_path).strip("/")
    members = [
        (name, kind, value.replace("{top}", top) if isinstance(value, str) else value)
        for name, kind, value in LINKS[trick]
    ]
    data = tar_bytes(*members, layout=tarfile.GNU_FORMAT)
    if suffix == ".tar.gz":
        data = zlib.compress(data, wbits=31)
    message = refuse(tmp_path / f"archive{suffix}", target, data)
    assert "member " in message
    assert " is a" in message


def test_a_pax_header_does_not_make_a_file_sparse_or_a_link(tmp_path, target):
    for headers, kind in (({"GNU.sparse.major": "1"}, FILE), ({"linkpath": "../canary.jpg"}, LINK)):
        info = tarfile.TarInfo("x.jpg")
        info.type, info.pax_headers = kind, headers
        assert "member x.jpg is a s" in refuse(
            tmp_path / "archive.tar", target, info.tobuf(tarfile.PAX_FORMAT) + bytes(1024)
        )


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        (0o120777, "a symbolic link"),
        (0o010644, "a FIFO"),
        (0o020644, "a character device"),
        (0o060644, "a block device"),
        (0o140644, "a socket"),
    ],
)
def test_no_link_of_a_zip_is_made_or_followed(tmp_path, target, mode, kind):
    data = zip_bytes(("to", "../beside", mode), ("to/canary.jpg", b"evil"))
    assert f"member to is {kind}" in refuse(tmp_path / "archive.zip", target, data)


def test_files_get_no_special_rights(tmp_path, target):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        info = tarfile.TarInfo("x.jpg")
        info.mode, info.uid, info.mtime = 0o7777, 12345, -1
        file.addfile(info)
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    (tmp_path / "a.zip").write_bytes(zip_bytes(("x.jpg", b"", 0o107777)))
    for archive in ("a.tar", "a.zip"):
        unpack(tmp_path / archive, target)
        status = (target / "x.jpg").stat()
        assert (status.st_mode & 0o7133, status.st_uid) == (0, os.getuid())


# --------------------------------------------------------------------------------------- names

OUTSIDE = (
    "../canary.jpg", "/canary.jpg", "//host/share/x.jpg", "a/../../canary.jpg", "a/..", "..",
    "..\\canary.jpg", "a\\..\\..\\canary.jpg", "\\canary.jpg", "C:\\x.jpg", "C:x.jpg", "c:/x.jpg",
    "./../canary.jpg", "a/./../../canary.jpg",
)  # fmt: skip
NO_NAMES = (
    "", "\u2025/x.jpg", "\uff0e\uff0e/x.jpg", "a\uff0fx.jpg", "a\uff3cx.jpg", ".. /x.jpg",
    ". ./x.jpg", ".../x.jpg", " /x.jpg", "a\nb.jpg", "a\0b.jpg", "\x1b[2J.jpg", "a\x7f.jpg",
    "a\u2028b.jpg", "x" * 256 + ".jpg", "y/" * 512 + "x.jpg", "y/" * 101 + "x.jpg",
)  # fmt: skip


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize("name", OUTSIDE + NO_NAMES)
def test_a_name_that_is_no_path_below_the_folder_is_refused(tmp_path, target, make, name):
    if make is tar_bytes and "\0" in name:
        pytest.skip("a NUL ends a name in a tar")
    member = (name, FILE, b"evil") if make is tar_bytes else (name, b"evil")
    message = refuse(tmp_path / "archive", target, make(member))
    assert "member " in message
    assert ("outside" in message) == (name in OUTSIDE)


@pytest.mark.parametrize(
    ("longest", "more"),
    [
        ("x" * 251 + ".jpg", "x" + "x" * 251 + ".jpg"),
        ("é" * 127 + "x", "é" * 128),
        (
            "y" * 254 + "/" + "y" * 254 + "/" + "y" * 254 + "/" + "y" * 255 + "/xy",
            ("y" * 254 + "/") * 4 + "abcd",
        ),
        ("y/" * 99 + "x", "y/" * 100 + "x"),
    ],
)
def test_names_may_be_as_long_as_file_systems_allow(longest, more):
    assert member_path(longest) == longest
    with pytest.raises(Refused):
        member_path(more)


def test_a_name_that_is_not_utf8_is_refused(tmp_path, target):
    info = tarfile.TarInfo("caf\udce9.jpg")
    data = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape") + bytes(1024)
    assert r"member caf\xe9.jpg: its name" in refuse(tmp_path / "archive.tar", target, data)


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
@pytest.mark.parametrize(
    "names",
    [
        ("a.jpg", "a.jpg"), ("a.jpg", "./a.jpg"), ("a/b.jpg", "a\\b.jpg"), ("a.jpg", "A.jpg"),
        ("\u00e9.jpg", "e\u0301.jpg"), ("a.jpg", "a.jpg."), ("a.jpg", "a.jpg "),
        ("a.jpg", "\uff41.jpg"), ("a.jpg", "a\u200b.jpg"), ("stra\u00dfe.jpg", "STRASSE.jpg"),
        ("a", "a/b.jpg"), ("a/b.jpg", "a"), ("Peru/a.jpg", "PERU/b.jpg"), ("Peru/", "peru"),
    ],
)  # fmt: skip
def test_two_members_that_may_be_one_file_are_refused_by_name(tmp_path, target, make, names):
    members = [(name, b"") if make is zip_bytes else typed(name, b"") for name in names]
    message = refuse(tmp_path / "archive", target, make(*members))
    first, second = (member_path(name, folder=True) for name in names)
    assert "twice" in message or (first.split("/")[0] in message and second in message)


@pytest.mark.parametrize("make", [tar_bytes, zip_bytes])
def test_files_of_operating_systems_do_not_exist_and_backslashes_separate(tmp_path, target, make):
    names = [
        "Peru\\1.jpg", "./x/", "__MACOSX/Peru/._1.jpg", "Peru/.DS_Store", "Peru/@eaDir/1.jpg",
        "$RECYCLE.BIN/1.jpg", "System Volume Information/x", "Peru/Thumbs.db", "Peru/._1.jpg",
        "Icon\r", ".ds_store", "Peru/2.jpg", "Peru/", "St. Louis/Washington D.C./1.jpg",
    ]  # fmt: skip
    members = [(name, b"" if name.endswith("/") else name.encode()) for name in names]
    if make is tar_bytes:
        members = [typed(name, content) for name, content in members]
        members.append((".", FOLDER, ""))
        members.append(("__MACOSX/link", LINK, "/etc"))
    (tmp_path / "archive").write_bytes(make(*members))
    unpack(tmp_path / "archive", target)
    found = {path.relative_to(target).as_posix(): path for path in target.rglob("*")}
    assert sorted(found) == [
        "Peru", "Peru/1.jpg", "Peru/2.jpg", "St. Louis", "St. Louis/Washington D.C.",
        "St. Louis/Washington D.C./1.jpg", "x",
    ]  # fmt: skip
    assert found["Peru/1.jpg"].read_bytes() == b"Peru\\1.jpg"


# --------------------------------------------------------------------------------- zip structure


def test_members_of_a_zip_that_share_bytes_are_refused(tmp_path, target):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as file:
        file.writestr("b.jpg", b"shared" * 100)
        info = file.getinfo("b.jpg")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a.jpg", inner.getvalue())
        info.header_offset = 30 + len("a.jpg")
        file.filelist.append(info)
    with zipfile.ZipFile(buffer) as file:
        assert file.namelist() == ["a.jpg", "b.jpg"]
    assert "reaches into what follows" in refuse(tmp_path / "a.zip", target, buffer.getvalue())
    with pytest.raises(ArchiveError, match=r"a\.zip .*reaches into what follows"):
        list(list_members(tmp_path / "a.zip"))


def test_a_zip_inside_the_last_member_of_a_tar_is_not_taken_for_the_archive(tmp_path, target):
    data = tar_bytes(("a.jpg", FILE, b"a"), ("b.zip", FILE, zip_bytes(("evil.jpg", b"evil"))))
    (tmp_path / "archive.tar").write_bytes(data)
    unpack(tmp_path / "archive.tar", target)
    assert sorted(path.name for path in target.iterdir()) == ["a.jpg", "b.zip"]


def test_a_folder_with_data_is_refused(tmp_path, target):
    data = bytearray(tar_bytes(("x", FILE, b"data")))
    data[156:157] = FOLDER
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert "a folder with data" in refuse(tmp_path / "a.tar", target, bytes(data))
    assert "folder with data" in refuse(tmp_path / "a.zip", target, zip_bytes(("x/", b"data")))
    assert "folder with data" in refuse(tmp_path / "a.zip", target, zip_bytes(("x\\", b"data")))


def test_what_is_in_the_way_is_named_and_not_touched(tmp_path, target):
    (tmp_path / ".out.partial").symlink_to(tmp_path / "beside")
    message = refuse(tmp_path / "a.zip", target, zip_bytes(("canary.jpg", b"evil")))
    assert ".out.partial is in the way" in message


# ------------------------------------------------------------------------- memory, time and disk


def gzip_of(*parts: tuple[bytes, int]) -> bytes:
    """A gzip file of pieces, each repeated a number of times; its streams are made only once."""
    return b"".join(zlib.compress(data, 9, wbits=31) * times for data, times in parts)


def header(name: str, kind: bytes, size: int) -> bytes:
    """The block of a member that is said to have so many bytes, negative ones included."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = (b"\x80" if size >= 0 else b"\xff") + size.to_bytes(11, "big", signed=True)
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def xz_with_a_dictionary_of_4_gib() -> bytes:
    data = bytearray(lzma.compress(tar_bytes(("a.jpg", FILE, b"a"))))
    assert data[14] == 0x21  # the filter LZMA2, in the header of the first block
    data[16] = 40
    end = 12 + (data[12] + 1) * 4 - 4
    data[end : end + 4] = struct.pack("<I", zlib.crc32(data[12:end]))
    return bytes(data)


def zip_with_a_list_of_members(count: int) -> bytes:
    data = zip_bytes(("a.jpg", b""))
    start, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    entries = data[start:end] * count
    ends = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entries), start, 0)
    return data[:start] + entries + ends


END = bytes(1024)
BOMBS = {
    "a PAX header of 512 MiB": lambda: gzip_of(
        (header("x", tarfile.XHDTYPE, 512 * MIB), 1), (bytes(MIB), 512), (END, 1)
    ),
    "a name of 512 MiB": lambda: gzip_of(
        (header("x", tarfile.GNUTYPE_LONGNAME, 512 * MIB), 1), (b"n" * MIB, 512), (END, 1)
    ),
    "PAX headers without end": lambda: gzip_of(
        (header("x", tarfile.XHDTYPE, MIB) + b"1048576 a=".ljust(MIB - 1, b"x") + b"\n", 400)
    ),
    "a size of -512": lambda: header("x.jpg", FILE, -512) + END,
    "a size of -512, compressed": lambda: gzip_of((header("x.jpg", FILE, -512) + END, 1)),
    "a PAX header of size -512": lambda: header("x", tarfile.XHDTYPE, -512) + END,
    "a size of 2**70": lambda: gzip_of((header("x.jpg", FILE, 1 << 70), 1), (bytes(MIB), 400)),
    "5 GB after the end": lambda: gzip_of(
        (tar_bytes(("a.jpg", FILE, b"a")), 1), (bytes(MIB), 5000)
    ),
    "streams without content": lambda: gzip_of((b"", 200_000)),
    "xz with a dictionary of 4 GiB": xz_with_a_dictionary_of_4_gib,
    "a zip with 700,000 names of one member": lambda: zip_with_a_list_of_members(700_000),
    "links one block after another": lambda: gzip_of((header("x", LINK, 0) * 2048, 500)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_archive_that_is_refused_took_little_memory_and_time(target, bomb):
    data = BOMBS[bomb]()

    def case(rng, folder):
        (folder / "archive").write_bytes(data)
        unpack(folder / "archive", folder / "out")

    bounded = SimpleNamespace(case=case, SECONDS=10, MEMORY=64 * MIB)
    result = run_case(bounded, generator("archives", 0, 0))
    assert (result.outcome, result.finding) in (("ArchiveError", ""), ("DamagedArchive", ""))


def test_headers_of_empty_members_count_as_much_as_files(tmp_path, target, monkeypatch):
    monkeypatch.setattr(unpacking, "SMALL", 300 * 4096 - 1)
    data = gzip_of((header("x/", FOLDER, 0) * 300, 1), (END, 1))
    assert len(data) < 800
    assert "more than 20 times its size" in refuse(tmp_path / "a.tar.gz", target, data)
    monkeypatch.setattr(unpacking, "SMALL", 300 * 4096)
    unpack(tmp_path / "a.tar.gz", target)


def test_the_limits_of_what_is_unpacked_are_those_of_honest_archives(tmp_path):
    assert (unpacking.MAX_EXPANSION, unpacking.SMALL) == (20, 256 * MIB)
    assert (unpacking.MAX_FILES, unpacking.MIN_COST) == (50_000_000, 4096)
    for size, limit in ((0, 16 * MIB), (100 * MIB, 50 * MIB), (4096 * MIB, 512 * MIB)):
        with (tmp_path / "a.zip").open("wb") as file:
            file.truncate(size)
        with BoundedFile(tmp_path / "a.zip") as bounded:
            assert bounded.limit == limit
            with pytest.raises(zipfile.BadZipFile, match=f"a list of members of {limit + 1} bytes"):
                bounded.read(limit + 1)


def test_zeros_after_a_tar_and_streams_without_content_are_bounded():
    Stream(io.BytesIO(bytes(16 * MIB))).check_end()
    with pytest.raises(Refused, match="more than 16 MiB after its end"):
        Stream(io.BytesIO(bytes(16 * MIB + 1))).check_end()
    empty = zlib.compress(b"", wbits=31)
    assert Decompressed(io.BytesIO(empty * 1000), b"\x1f\x8b").read(1) == b""
    with pytest.raises(Refused, match="too many compressed streams"):
        Decompressed(io.BytesIO(empty * 1001), b"\x1f\x8b").read(1)


def test_headers_before_a_member_of_a_tar_are_bounded():
    long = header("long", tarfile.GNUTYPE_LONGNAME, 512) + b"name".ljust(512, b"\0")
    member = header("x.jpg", FILE, 0)
    assert next_member(Stream(io.BytesIO(long * 15 + member))).raw == "name"
    with pytest.raises(Damage, match="more than 16 headers"):
        next_member(Stream(io.BytesIO(long * 16 + member)))
    large = header("long", tarfile.GNUTYPE_LONGNAME, MIB) + b"y" * MIB
    assert next_member(Stream(io.BytesIO(large + member))).raw == "y" * MIB
    with pytest.raises(Damage, match=f"a header of {MIB + 1} bytes"):
        next_member(Stream(io.BytesIO(header("long", tarfile.GNUTYPE_LONGNAME, MIB + 1))))


@pytest.mark.parametrize("there", ["a file", "a link"])
def test_what_is_there_is_never_written_over_or_through(tmp_path, target, there):
    """Were there anything in the folder of an archive, however it came there."""
    target.mkdir()
    if there == "a file":
        (target / "x.jpg").write_bytes(b"canary")
    else:
        (target / "x.jpg").symlink_to("../canary.jpg")
    before = state(tmp_path)
    with pytest.raises(FileExistsError):
        unpacking._write(target, "x.jpg", Entry("x.jpg", "file", 4, 4), [b"evil"])
    assert state(tmp_path) == before


@pytest.mark.parametrize("size", [-512, 1 << 40, 512 * MIB])
@pytest.mark.parametrize("kind", [FILE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_headers_of_a_tar_that_is_read_in_place_are_bounded(size, kind):
    def case(rng, folder):
        with (folder / "a.tar").open("wb") as file:
            file.write(header("x.jpg", kind, size))
            file.truncate(512 + 512 * MIB)
        list(list_members(folder / "a.tar"))
        return "listed"

    bounded = SimpleNamespace(case=case, SECONDS=5, MEMORY=64 * MIB)
    result = run_case(bounded, generator("archives", 0, 0))
    assert (result.outcome, result.finding) == ("ArchiveError", "")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_a_member_of_a_zip_is_expanded_no_further_than_it_says(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as file:
        file.writestr("a.jpg", bytes(192 * MIB))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, 1000)

    def case(rng, folder):
        (folder / "a.zip").write_bytes(data)
        with ImageFiles(folder) as files:
            files.read("a.zip/a.jpg")

    bounded = SimpleNamespace(case=case, SECONDS=10, MEMORY=64 * MIB)
    result = run_case(bounded, generator("archives", 0, 0))
    assert (result.outcome, result.finding) == ("UnreadableImage", "")


def test_an_archive_of_git_with_a_comment_for_all_members_is_read(tmp_path, target):
    """`git archive` writes the commit into a header for all members, which names none of them."""
    buffer = io.BytesIO()
    comment = {"comment": "0" * 40}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers=comment):
        pass
    start = buffer.getvalue()[: 3 * 512]
    (tmp_path / "a.tar").write_bytes(start[:1024] + tar_bytes(("a.jpg", FILE, b"a")))
    unpack(tmp_path / "a.tar", target)
    assert (target / "a.jpg").read_bytes() == b"a"


def test_a_name_that_is_not_utf_8_is_told_as_such():
    with pytest.raises(Refused, match="not UTF-8"):
        member_path("caf\udce9.jpg")


def test_a_folder_of_a_zip_is_known_by_its_mode(tmp_path, target):
    (tmp_path / "a.zip").write_bytes(zip_bytes(("Peru", b"", 0o40755), ("Peru/1.jpg", b"1")))
    unpack(tmp_path / "a.zip", target)
    assert (target / "Peru/1.jpg").read_bytes() == b"1"


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_damage_inside_compressed_data_is_named(tmp_path, target, suffix):
    data = tar_bytes(("a.jpg", FILE, os.urandom(4000)))
    damaged = bytearray(COMPRESS[suffix](data))
    at = len(damaged) // 2
    damaged[at : at + 40] = bytes(byte ^ 0xFF for byte in damaged[at : at + 40])
    (tmp_path / f"a.tar{suffix}").write_bytes(damaged)
    with pytest.raises(ArchiveError, match=rf"a\.tar\{suffix}"):
        unpack(tmp_path / f"a.tar{suffix}", target)


def test_a_tar_with_a_damaged_first_header_is_still_known_as_one(tmp_path, target):
    data = bytearray(tar_bytes(("a.jpg", FILE, b"a")))
    data[3] ^= 1  # of the name, which the header's checksum covers
    (tmp_path / "download").write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged header at byte 0"):
        unpack(tmp_path / "download", target)
