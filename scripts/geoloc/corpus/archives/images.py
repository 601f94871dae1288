"""Find the images among the members of an archive, and those that can be used."""

from __future__ import annotations

from geoloc.corpus.archives.base import FILE, FOLDER, Entry, Member, Refused
from geoloc.corpus.archives.names import member_path, same_file, shown
from geoloc.images import MAX_BYTES, is_image


def image_member(entry: Entry) -> Member | None:
    """Return the member as an image, or None if its name is not that of an image or is hidden."""
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
    """Finds images whose names mean the same file on some file systems.

    None of them is used, because nothing says which one is meant.
    """

    def __init__(self) -> None:
        self.seen: dict[str, str] = {}
        self.problems: dict[str, str] = {}  # of images by path

    def check(self, member: Member) -> None:
        """Compare an image with the images before it."""
        other = self.seen.setdefault(same_file(member.name), member.name)
        if other is member.name:
            return
        if other == member.name:
            self.problems[member.name] = "several files in its archive have this name"
        else:
            same = "has the same name as {} on some file systems"
            self.problems[member.name] = same.format(other)
            self.problems.setdefault(other, same.format(member.name))
