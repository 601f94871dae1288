"""Which members of an archive are images, and which of those can be used."""

from __future__ import annotations

from geoloc.corpus.archives.base import FILE, FOLDER, Entry, Member, Refused
from geoloc.corpus.archives.names import member_path, same_file, shown
from geoloc.images import MAX_BYTES, is_image


def image_member(entry: Entry) -> Member | None:
    """The image that a member is by its name; None where it is none or is hidden."""
    if entry.kind == FOLDER or not is_image(entry.raw):
        return None
    try:
        path = member_path(entry.raw)
    except Refused as error:
        return Member(shown(entry.raw), str(error))
    if path is None or any(part.startswith(".") for part in path.split("/")):
        return None
    if entry.kind != FILE:
        return Member(path, f"{entry.kind} in its archive")
    if entry.size > MAX_BYTES:
        return Member(path, f"has more than {MAX_BYTES} bytes")
    return Member(path)


class Doubles:
    """Finds images that are one file on some file system. None of them is used: which one is meant
    cannot be known."""

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.problems: dict[str, str] = {}  # of images by path

    def check(self, member: Member) -> None:
        """Compare an image with those before it."""
        other = self.seen.setdefault(same_file(member.name), member.name)
        if other is member.name:
            return
        if other == member.name:
            self.problems[member.name] = "its archive holds several files of this name"
        else:
            self.problems[member.name] = f"its archive holds the same name as {other}"
            self.problems.setdefault(other, f"its archive holds the same name as {member.name}")
