"""What a file is, by its first bytes."""

from __future__ import annotations

import re
from pathlib import Path

START = 1 << 16  # bytes
SHOWN = 60  # characters
# Nothing is matched in two ways: many comments would take a time that doubles with each.
WEB_PAGE = re.compile(
    r"(?:(?><!--.*?-->)|<\?xml[^>]*>|\s)*+<(!doctype\s+html|html|head|body|script|meta)\b",
    re.DOTALL,
)


def is_web_page(path: Path) -> bool:
    """Whether a file is HTML."""
    return WEB_PAGE.match(_text(path).lower()) is not None


def described(path: Path) -> str:
    """What a file seems to be, for a message."""
    text = _text(path)
    if not text.strip():
        return "an empty file" if not text else "a file of blanks"
    if is_web_page(path):
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        title = " ".join(title[1].split())[:SHOWN] if title else ""
        return f"a web page ({title!r})" if title else "a web page"
    line = " ".join(text.split())[:SHOWN]
    if not line.isprintable() or "\ufffd" in line:
        return f"a file that begins with the bytes {start(path)[:8].hex(' ')}"
    return f"a text that begins with {line!r}"


def start(path: Path) -> bytes:
    """The first bytes of a file."""
    with path.open("rb") as file:
        return file.read(START)


def _text(path: Path) -> str:
    return start(path).decode("utf-8-sig", "replace")
