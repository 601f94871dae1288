"""Hostile archives: unpacked, and read in place."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from geoloc.corpus.archives import ImageFiles, list_members
from geoloc.corpus.unpack import unpack
from geoloc.images import UnreadableImage
from tests.fuzz.mutations import mutate

MEMORY = 128 << 20  # bytes; the archives have some kilobytes
NAMES = ("a.jpg", "b c.png", "Peru/1.jpg", "Peru/2.jpg", "Côte d'Ivoire/é.jpg", "x/y/z/0.webp")
HOSTILE = (
    "../beside/canary.jpg", "/etc/evil.jpg", "a/../../beside/evil.jpg", "..\\beside\\evil.jpg",
    "C:\\evil.jpg", "C:evil.jpg", "a.jpg/b.jpg", ".", "./", "", "..", "A.JPG", "a.jpg.", "a.jpg ",
    "e\u0301.jpg", "\u2025/beside/evil.jpg", "a\uff0fb.jpg", "__MACOSX/._a.jpg", ".DS_Store",
    "x" * 300 + ".jpg", "y/" * 600 + "a.jpg", "line\nbreak.jpg", "nul\0.jpg", "Peru", "Peru/1.jpg",
    "Thumbs.db", "\udcff.jpg", "-rf.jpg", "a//b.jpg", "./a.jpg", "link/evil.jpg", "link",
)  # fmt: skip
TARGETS = ("../beside", "../beside/canary.jpg", "/etc/passwd", "a.jpg", ".", "link", "x" * 5000)
NUMBERS = (0, 1, -1, -512, 511, 513, 1 << 20, 1 << 31, 1 << 33, 1 << 62, (1 << 64) - 1, -(1 << 62))
COMPRESSORS = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress,
               ".tar.xz": lzma.compress}  # fmt: skip
TAR_FIELDS = {  # first byte and length of what the header of a member says
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "size": (124, 12), "mtime": (136, 12),
    "type": (156, 1), "linkname": (157, 100), "magic": (257, 8), "prefix": (345, 155),
}  # fmt: skip


def case(rng: np.random.Generator, folder: Path) -> str:
    """An archive, valid or hostile, and what is made of it."""
    files = {name: name.encode() + rng.bytes(int(rng.integers(1, 3000))) for name in NAMES}
    if rng.random() < 0.5:
        suffix, data, intact = ".zip", *_hostile_zip(rng, files)
    else:
        data, intact = _hostile_tar(rng, files)
        suffix = list(COMPRESSORS)[rng.integers(len(COMPRESSORS))]
        data = COMPRESSORS[suffix](data)
    checked = suffix != ".tar" and intact  # whether a checksum covers the content of all files
    if rng.random() < 0.4:
        data, intact = mutate(rng, data), False
    (folder / "set").mkdir()
    archive = folder / "set" / f"a{suffix}"
    archive.write_bytes(data)
    if suffix in (".zip", ".tar") and rng.random() < 0.5:
        spoil = suffix == ".tar" and rng.random() < 0.5
        return _read_in_place(rng, archive, files, intact, checked, spoil)
    return _unpack(archive, files, intact, checked)


def _unpack(archive: Path, files: dict[str, bytes], intact: bool, checked: bool) -> str:
    top = archive.parents[1]
    (top / "beside").mkdir()
    (top / "beside/canary.jpg").write_bytes(b"canary")
    before = _tree(top)
    try:
        unpack(archive, top / "out")
    finally:
        after = _tree(top)
        assert before == {name: after.get(name) for name in before}, "something else was changed"
        new = [name for name in after if name not in before]
        assert all(name.split("/")[0] == "out" for name in new), f"written beside: {new}"
    found = {n.removeprefix("out/"): after[n] for n in new if isinstance(after[n], bytes)}
    assert not any(after[name] == "special" for name in new), "a link or special file was made"
    if intact:
        assert found == files, "other files than in the archive"
    if checked:
        assert set(found.values()) <= set(files.values()), "damaged content"
    return "unpacked" if intact else "unpacked in spite of the damage"


def _tree(top: Path) -> dict[str, bytes | str]:
    """Content of each file below a folder, and the kind of everything else."""
    tree = {}
    for folder, folders, names in os.walk(top):
        for path in (Path(folder, name) for name in folders + names):
            plain = path.is_file() and not path.is_symlink()
            kind = "folder" if path.is_dir() and not path.is_symlink() else "special"
            tree[path.relative_to(top).as_posix()] = path.read_bytes() if plain else kind
    return tree


def _read_in_place(rng, archive: Path, files, intact: bool, checked: bool, spoil: bool) -> str:
    """List and read, with a damaged list of members where `spoil`: the archive is what counts."""
    if spoil:
        list(list_members(archive))
        index = archive.with_name(archive.name + ".members")
        index.write_bytes(mutate(rng, index.read_bytes()))
    members = list(list_members(archive))
    read, unreadable = {}, 0
    with ImageFiles(archive.parent) as images:
        for member in members:
            try:
                read[member.name] = images.read(f"{archive.name}/{member.name}")
                assert not member.problem, f"{member.name} is read in spite of {member.problem}"
            except UnreadableImage:
                unreadable += 1
    if intact:
        assert read == files, "other images than in the archive"
    if checked:
        assert set(read.values()) <= set(files.values()), "damaged content"
    return "all read" if not unreadable else "some unreadable"


# -------------------------------------------------------------------------------------- zip


def _hostile_zip(rng: np.random.Generator, files: dict[str, bytes]) -> tuple[bytes, bool]:
    """A zip archive, and whether it is an honest one of these files."""
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    method = methods[rng.choice(4, p=[0.45, 0.45, 0.05, 0.05])]
    buffer, honest = io.BytesIO(), method in methods[:2] and rng.random() < 0.4
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
        for _ in range(0 if honest else rng.integers(1, 3)):
            info = zipfile.ZipInfo(HOSTILE[rng.integers(len(HOSTILE))].replace("\udcff", "?"))
            info.external_attr = int(rng.choice([0o120777, 0o10644, 0o20644, 0o100644])) << 16
            file.writestr(info, TARGETS[rng.integers(len(TARGETS))])
    data = bytearray(buffer.getvalue())
    if not honest and rng.random() < 0.7:
        _change_directory(rng, data)
    return bytes(data), honest


def _change_directory(rng: np.random.Generator, data: bytearray) -> None:
    """Overwrite a number in an entry of the central directory, or in the record of its end."""
    ends, entries = data.rindex(b"PK\5\6"), []
    at = data.find(b"PK\1\2")
    while at >= 0:
        entries.append(at)
        at = data.find(b"PK\1\2", at + 4)
    value = NUMBERS[rng.integers(len(NUMBERS))]
    if rng.random() < 0.2:
        struct.pack_into("<I", data, ends + int(rng.choice([8, 12, 16])), value & 0xFFFFFFFF)
        return
    entry = entries[rng.integers(len(entries))]
    field = int(rng.choice([8, 10, 16, 20, 24, 28, 30, 38, 42]))
    other = entries[rng.integers(len(entries))]
    if rng.random() < 0.3:  # of another entry: two then share their bytes
        data[entry + 42 : entry + 46] = data[other + 42 : other + 46]
    else:
        struct.pack_into("<I", data, entry + field, value & 0xFFFFFFFF)


# -------------------------------------------------------------------------------------- tar


def _hostile_tar(rng: np.random.Generator, files: dict[str, bytes]) -> tuple[bytes, bool]:
    """A tar archive, and whether it is an honest one of these files."""
    formats = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    layout, buffer, honest = formats[rng.integers(len(formats))], io.BytesIO(), rng.random() < 0.4
    with tarfile.open(fileobj=buffer, mode="w", format=layout) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
        if not honest:
            for blocks in [_hostile_member(rng) for _ in range(rng.integers(1, 4))]:
                file.fileobj.write(blocks)
                file.offset += len(blocks)
    data = bytearray(buffer.getvalue())
    if not honest and rng.random() < 0.6:
        _change_header(rng, data)
    if not honest and rng.random() < 0.2:
        data += bytes(int(rng.integers(1 << 16))) + rng.bytes(int(rng.integers(2000)))
    return bytes(data), honest


def _hostile_member(rng: np.random.Generator) -> bytes:
    """Header and content of a member of any kind and name; some have a PAX header of their own."""
    name, content = HOSTILE[rng.integers(len(HOSTILE))], rng.bytes(int(rng.integers(700)))
    info = tarfile.TarInfo(name)
    info.type = bytes(rng.choice(list(b"0123456\0 7LKSxgXVMDNAZ"), 1).astype(np.uint8))
    info.linkname = TARGETS[rng.integers(len(TARGETS))]
    if rng.random() < 0.5:
        info.size = len(content)
    layout = tarfile.PAX_FORMAT if rng.random() < 0.5 else tarfile.GNU_FORMAT
    if layout == tarfile.PAX_FORMAT and rng.random() < 0.5:
        keys = ("path", "size", "linkpath", "GNU.sparse.size", "GNU.sparse.major", "hdrcharset")
        value = rng.choice([str(n) for n in NUMBERS] + [repr(h) for h in HOSTILE])
        info.pax_headers = {str(rng.choice(keys)): str(value)}
    header = info.tobuf(layout, "utf-8", "surrogateescape")
    return header + content + bytes(-len(content) % 512) if info.size else header


def _change_header(rng: np.random.Generator, data: bytearray) -> None:
    """Overwrite a field of a header and make its checksum right again."""
    headers = [at for at in range(0, len(data) - 511, 512) if data[at + 257 : at + 262] == b"ustar"]
    start = headers[rng.integers(len(headers))]
    field, length = TAR_FIELDS[str(rng.choice(list(TAR_FIELDS)))]
    number = NUMBERS[rng.integers(len(NUMBERS))]
    name = HOSTILE[rng.integers(len(HOSTILE))].encode("utf-8", "surrogateescape")
    values = [name, rng.bytes(length), b"%o" % abs(number)]
    if length > 1:
        sign = b"\x80" if number >= 0 else b"\xff"
        digits = number.to_bytes(16, "big", signed=number < 0)
        values.append(sign + digits.rjust(length - 1, digits[:1])[1 - length :])
    value = values[rng.integers(len(values))]
    data[start + field : start + field + length] = value[:length].ljust(length, b"\0")
    header = bytearray(data[start : start + 512])
    header[148:156] = b" " * 8
    data[start + 148 : start + 156] = b"%06o\0 " % sum(header)
