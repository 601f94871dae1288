"""Check the names of members and turn them into paths below a folder."""

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
    r"""Turn the name of a member into a safe path below a folder.

    `\` separates folders like `/` does. Empty parts and `.` are dropped.

    Args:
        raw: the name in the archive, with surrogates for bytes that are not UTF-8.
        folder: whether the member is a folder.

    Returns:
        A relative path of plain names, joined by `/`. None if the member is ignored: files that
        operating systems create (`geoloc.corpus.system_files`), and the top folder `.`.

    Raises:
        Refused: with the reason, if the name is empty or too long, points outside the folder, or
            can't be written to a table.
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
        raise Refused("it is a file, but its name ends like a folder's")
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
    if part.isascii() and part.isprintable() and part.strip(". "):
        return  # as almost all of millions are
    if part != utf8_name(part):
        raise Refused("its name in the archive is not UTF-8")
    if any(unicodedata.category(character) in UNPRINTABLE for character in part):
        raise Refused("its name has a control character or line break")
    plain = unicodedata.normalize("NFKC", part)
    if "/" in plain or "\\" in plain or not plain.strip(". "):
        raise Refused(
            "its name has only dots and spaces, or a character that looks like a separator"
        )


def shown(raw: str) -> str:
    """Return a member's name for messages and tables, on one line and with escapes."""
    name = utf8_name(raw)
    name = "".join(
        c if unicodedata.category(c) not in UNPRINTABLE else c.encode("unicode_escape").decode()
        for c in name
    )
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}... ({len(name)} characters)"


def same_file(path: str) -> str:
    """Return a key that is equal for two paths that mean the same file on some file system.

    File systems of Windows and macOS ignore case, the Unicode form of accents, zero-width
    characters, and dots and spaces at the end of a name.
    """
    if not path.isascii():
        path = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
        path = "".join(c for c in path if unicodedata.category(c) != "Cf")
    return "/".join([part.rstrip(". ") for part in path.lower().split("/")])


class Names:
    """The paths of one archive. No two may mean the same file on any file system, and no path may
    be both a file and a folder."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}  # folders with a / at the end

    def add(self, path: str, folder: bool = False) -> str | None:
        """Add a path and the folders above it.

        A folder may be added again if it is spelled the same way.

        Returns:
            None if it was added; otherwise the path that it clashes with, which may be itself.
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
