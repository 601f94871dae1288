"""List the content of a source's folder: every entry is an image, an archive, or counted by kind.

So nothing is skipped without a message.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from geoloc.corpus.archives import is_archive, is_packed
from geoloc.corpus.sources.base import Source, SourceError
from geoloc.corpus.system_files import is_system_name
from geoloc.images import is_image

# Kinds of entries, as index/listing.csv names them.
READ = "read"
REJECTED = "rejected"
ARCHIVE = "archive"
PACKED = "archive that is compressed as a whole"
NOT_AN_IMAGE = "not an image"
UNSUPPORTED = "unsupported format"
BROKEN = "broken link"
SPECIAL = "special file"
LINKED_FOLDER = "link to a folder"
SYSTEM_FOLDER = "system folder"
SYSTEM_FILE = "system file"
NESTED = "image in a folder that is not searched"
OUTSIDE = "image in no country folder"
UNLISTED = "image that the Python file does not name"
UNREAD_ARCHIVE = "archive that is not searched"
EMPTY_FOLDER = "folder without images"  # an empty one, and of a country one without any
# Kinds that a user may expect to be used.
SURPRISING = (
    UNSUPPORTED,
    BROKEN,
    SPECIAL,
    LINKED_FOLDER,
    NESTED,
    OUTSIDE,
    UNREAD_ARCHIVE,
    PACKED,
    EMPTY_FOLDER,
    UNLISTED,
)
EXAMPLES = 3

# Picture formats, for the listing; geoloc.images decides which are read.
PICTURES = frozenset(
    """
    gif svg svgz psd psb ai eps xcf kra heic heif hif avif avifs jxl jp2 j2k jpf jpx jpc jxr wdp hdp
    jpe jfif jif apng bpg flif qoi ico icns cur tga dds pcx exr hdr pic ppm pgm pbm pnm pam pfm xbm
    xpm dib emf wmf cr2 cr3 crw nef nrw arw srf sr2 dng orf rw2 raw rwl raf pef ptx srw x3f 3fr fff
    iiq kdc dcr k25 erf mef mos mrw gpr insp djvu
    """.split()  # noqa: SIM905
)


class Entry(NamedTuple):
    """An entry of a source's folder.

    Attributes:
        path: relative to the folder.
        kind: READ for an image that can be opened, ARCHIVE, or the kind of a skipped entry.
        problem: why an image can't be opened, or "".
        linked: whether it is reached through a link.
    """

    path: str
    kind: str
    problem: str = ""
    linked: bool = False


@dataclass
class Tally:
    """The number of entries of each kind, with a few examples."""

    counts: Counter = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, path: str) -> None:
        """Count an entry."""
        self.counts[kind] += 1
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(path)

    def describe(self, kind: str) -> str:
        """Return count, kind and examples, for a message."""
        more = ", …" if self.counts[kind] > EXAMPLES else ""
        return f"{self.counts[kind]} {kind} ({', '.join(self.examples[kind])}{more})"


@dataclass
class Contents:
    """The content of a source's folder, as sorted paths below it.

    Attributes:
        images: all files with the suffix of an image.
        archives: archives that can be searched.
        packed: archives that are compressed as a whole.
        problems: why some images can't be opened, by path.
        linked: images and archives that are reached through a link.
        tally: everything else.
        folders: the kinds of entries in each top folder.
    """

    images: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    linked: set[str] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    folders: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))

    @property
    def readable(self) -> list[str]:
        """The images that can be opened."""
        return [path for path in self.images if path not in self.problems]


def read_contents(source: Source, linked_folders: bool = False) -> Contents:
    """List a source's folder.

    Args:
        source: the source.
        linked_folders: whether to follow links to folders at its top.

    Raises:
        SourceError: if a folder can't be listed.
    """
    contents = Contents()
    lists = {ARCHIVE: contents.archives, PACKED: contents.packed}
    for entry in entries(source, linked_folders):
        top, slash, _ = entry.path.partition("/")
        if slash:
            contents.folders[top].add(entry.kind, entry.path)
        if entry.linked:
            contents.linked.add(entry.path)
        if entry.kind == READ or entry.problem:
            contents.images.append(entry.path)
        elif entry.kind in lists:
            lists[entry.kind].append(entry.path)
        if entry.kind not in (READ, ARCHIVE, PACKED):
            contents.tally.add(entry.kind, entry.path)
        if entry.problem:
            contents.problems[entry.path] = entry.problem
    return contents


def entries(source: Source, linked_folders: bool = False) -> Iterator[Entry]:
    """Yield every entry below a source's folder, folder by folder, sorted by name.

    Folders that are searched are not entries themselves. System folders are not searched. No file
    is opened.

    Args:
        source: the source.
        linked_folders: see `read_contents`.

    Raises:
        SourceError: if a folder can't be listed.
    """
    waiting = [("", False)]
    while waiting:
        prefix, linked = waiting.pop()
        below, present = [], _scan(source, prefix)
        if prefix and not present:
            yield Entry(prefix, EMPTY_FOLDER)
        for found in present:
            path = prefix + found.name
            if not _is_searched(found, source, linked_folders and not prefix):
                entry = _classify(found, path)
                yield entry._replace(linked=entry.linked or linked)
            else:
                below.append((path + "/", linked or found.is_symlink()))
        waiting += reversed(below)


def _scan(source: Source, prefix: str) -> list[os.DirEntry]:
    try:
        with os.scandir(source.folder / prefix) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(
            f"source {source.name}: cannot list the folder {source.folder / prefix} "
            f"({error.strerror}); make it readable or move it out of the source"
        ) from error


def _is_searched(found: os.DirEntry, source: Source, linked_folders: bool) -> bool:
    """Whether an entry is a folder to search: not a system folder, and no link except at the top,
    if it does not lead to the source's folder or above it, which would be a cycle."""
    if not found.is_symlink():
        return found.is_dir(follow_symlinks=False) and not is_system(found.name)
    if not linked_folders or is_system(found.name) or not os.path.isdir(found.path):
        return False
    here, there = source.folder.resolve(), Path(os.path.realpath(found.path))
    return there != here and there not in here.parents


def is_system(name: str) -> bool:
    """Return whether the name of a file or folder is hidden or that of a system file."""
    return name.startswith(".") or is_system_name(name)


def _classify(found: os.DirEntry, path: str) -> Entry:
    linked = found.is_symlink()
    try:
        # Only links are looked up: a call for each of millions of files takes long.
        mode = os.stat(found.path).st_mode if linked else _mode(found)
    except OSError as error:
        return _system(found, False, path) or _broken(path, error)
    if entry := _system(found, stat.S_ISDIR(mode), path):
        return entry
    if stat.S_ISDIR(mode):
        return Entry(path, LINKED_FOLDER)
    if not stat.S_ISREG(mode):
        problem = f"{_special(mode)}, not a file" if is_image(path) else ""
        return Entry(path, SPECIAL, problem)
    if is_image(path):
        return Entry(path, READ, linked=linked)
    if is_archive(path):
        return Entry(path, ARCHIVE, linked=linked)
    if is_packed(path):
        return Entry(path, PACKED)
    suffix = os.path.splitext(path)[1].lower().removeprefix(".")
    return Entry(path, UNSUPPORTED if suffix in PICTURES else NOT_AN_IMAGE)


def _mode(found: os.DirEntry) -> int:
    if found.is_file(follow_symlinks=False):
        return stat.S_IFREG
    if found.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    return os.lstat(found.path).st_mode


def _system(found: os.DirEntry, folder: bool, path: str) -> Entry | None:
    # `<archive>.members` is written by geoloc.corpus.archives.
    if is_system(found.name) or path.endswith(".tar.members"):
        return Entry(path, SYSTEM_FOLDER if folder else SYSTEM_FILE)
    return None


def _broken(path: str, error: OSError) -> Entry:
    problems = {
        errno.ENOENT: "a link to a file that does not exist",
        errno.ELOOP: "a link to itself",
    }
    problem = problems.get(error.errno, f"a link that cannot be followed: {error.strerror}")
    return Entry(path, BROKEN, problem if is_image(path) else "")


def _special(mode: int) -> str:
    names = {stat.S_ISFIFO: "a FIFO", stat.S_ISSOCK: "a socket"}
    return next((name for check, name in names.items() if check(mode)), "a device")
