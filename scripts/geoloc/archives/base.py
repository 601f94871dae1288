"""What zip and tar archives share."""

from __future__ import annotations

import os
from dataclasses import dataclass

from geoloc.images import EXTENSIONS

MAX_BYTES = 1 << 30  # of one image; anything larger is no photograph


class ArchiveError(ValueError):
    """An archive cannot be read; the message names it and says what to do."""


@dataclass(frozen=True, slots=True)
class Member:
    """An image in an archive: its path there, or as `problem` the reason why it is not used."""

    name: str
    problem: str = ""


def image_member(name: str, size: int, problem: str = "") -> Member | None:
    """The image that a member is by its name, None where it is none or is hidden.

    `problem` is what is known to be wrong with it. A name that points outside the archive is a
    problem too, although nothing is ever written under it.
    """
    if os.path.splitext(name)[1].lower() not in EXTENSIONS:
        return None
    if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
        return Member(name, "its path points outside the archive")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if any(part.startswith((".", "__MACOSX")) for part in parts):
        return None
    if size > MAX_BYTES:
        problem = problem or f"has more than {MAX_BYTES} bytes"
    return Member("/".join(parts), problem)
