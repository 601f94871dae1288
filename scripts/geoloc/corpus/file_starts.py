"""Tell what a file is from its first bytes."""

from __future__ import annotations

import re
from pathlib import Path

START = 1 << 16  # bytes
SHOWN = 60  # characters
# No text matches in two ways; otherwise, the time would double with every comment.
WEB_PAGE = re.compile(
    r"(?:(?><!--.*?-->)|<\?xml[^>]*>|\s)*+<(!doctype\s+html|html|head|body|script|meta)\b",
    re.DOTALL,
)


def is_web_page(path: Path) -> bool:
    """Return whether a file is HTML."""
    return WEB_PAGE.match(_text(path).lower()) is not None


def described(path: Path) -> str:
    """Describe what a file seems to be, for a message."""
    text = _text(path)
    if not text.strip():
        return "an empty file" if not text else "a file with only whitespace"
    if is_web_page(path):
        title = re.search(r"<title[^>]*>([^<]*)", text, re.IGNORECASE)
        title = " ".join(title[1].split())[:SHOWN] if title else ""
        return f"a web page ({title!r})" if title else "a web page"
    line = " ".join(text.split())[:SHOWN]
    if not line.isprintable() or "\ufffd" in line:
        return f"a file that starts with the bytes {start(path)[:8].hex(' ')}"
    return f"a text file that starts with {line!r}"


def start(path: Path) -> bytes:
    """Return the first bytes of a file, at most START."""
    with path.open("rb") as file:
        return file.read(START)


def _text(path: Path) -> str:
    return start(path).decode("utf-8-sig", "replace")
