"""Names in archives, and the paths below a folder that they may become."""

from __future__ import annotations

import re
import unicodedata

from geoloc.corpus.archives.base import Refused
from geoloc.corpus.system_files import is_system_name
from geoloc.files import utf8_name

MAX_NAME = 255  # bytes of a file's or folder's own name, on most file systems
MAX_PATH = 1024  # bytes of a path below the folder; systems allow 4096 with the folder
MAX_DEPTH = 100  # folders
SHOWN = 120  # characters of a name in a message
DRIVE = re.compile(r"[A-Za-z]:")
# Control characters, surrogates, and separators of lines and paragraphs: they break tables.
UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def member_path(raw: str, folder: bool = False) -> str | None:
    r"""Turn the name of a member into the path that it may have below a folder.

    A `\` separates as `/` does. Empty parts and `.` are dropped.

    Args:
        raw: the name as it stands in the archive, with surrogates for bytes that are not UTF-8.
        folder: whether the member is a folder.

    Returns:
        A relative path of plain names, joined by `/`; None for what is treated as if it did not
        exist: files of operating systems (`geoloc.corpus.system_files`), and the folder itself
        as `.`.

    Raises:
        Refused: with the reason, for a name that points outside the folder, is none, is too long
            or could not be written to a table.
    """
    name = raw.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or DRIVE.match(name) or ".." in parts:
        raise Refused("its path points outside the archive")
    if any(map(is_system_name, parts)):
        return None
    if not parts:
        if folder and name:
            return None
        raise Refused("its name is empty")
    if not folder and name.endswith(("/", "/.")):
        raise Refused("it is a file with the name of a folder")
    _check_length(parts)
    for part in parts:
        _check_part(part)
    return "/".join(parts)


def _check_length(parts: list[str]) -> None:
    lengths = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
    if max(lengths) > MAX_NAME or sum(lengths) + len(lengths) > MAX_PATH:
        raise Refused(f"its name is longer than {MAX_NAME} bytes, or its path than {MAX_PATH}")
    if len(parts) > MAX_DEPTH:
        raise Refused(f"it is more than {MAX_DEPTH} folders deep")


def _check_part(part: str) -> None:
    if part != utf8_name(part):
        raise Refused("its name in the archive is not UTF-8")
    if any(unicodedata.category(character) in UNPRINTABLE for character in part):
        raise Refused("its name has a control character or line break")
    plain = unicodedata.normalize("NFKC", part)
    if "/" in plain or "\\" in plain or not plain.strip(". "):
        raise Refused("its name only looks like one: it means a separator, a dot or a space")


def shown(raw: str) -> str:
    """A member's name for messages and tables: on one line, what is not printable escaped."""
    name = utf8_name(raw)
    name = "".join(
        c if unicodedata.category(c) not in UNPRINTABLE else c.encode("unicode_escape").decode()
        for c in name
    )
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}... ({len(name)} characters)"


def same_file(path: str) -> str:
    """What two paths have in common that are one file on some file system: those of Windows and
    macOS ignore case, the form of accents, characters without width, and dots and spaces at the end
    of a name."""
    if not path.isascii():
        path = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        path = "".join(c for c in path if unicodedata.category(c) != "Cf")
    return "/".join([part.rstrip(". ") for part in path.lower().split("/")])


class Names:
    """Paths of one archive, of which no two may be the same file on any file system, and none both
    a file and a folder."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}  # folders with a / at the end

    def add(self, path: str, folder: bool = False) -> str | None:
        """Take a path and the folders above it.

        Returns:
            None, or the path it is not to be told from, which may be the same one; then it is not
            taken. A folder may come again, if it is written in the same way.
        """
        entry = path + "/" if folder else path
        parent = path.rpartition("/")[0]
        if parent and self.taken.get(same_file(parent)) != parent + "/":
            other = self.add(parent, folder=True)
            if other is not None:
                return other
        known = self.taken.setdefault(same_file(path), entry)
        if known is entry or (folder and known == entry):
            return None
        return known.rstrip("/")
