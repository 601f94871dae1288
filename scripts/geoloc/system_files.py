"""Files and folders that operating systems and network drives leave among the user's own."""

from __future__ import annotations

NAMES = frozenset(
    {
        # macOS
        "__macosx", ".ds_store", ".appledouble", ".apdisk", ".fseventsd", ".spotlight-v100",
        ".documentrevisions-v100", ".temporaryitems", ".trashes", "icon\r",
        # Windows
        "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information",
        # network drives of Synology and QNAP
        "@eadir", "#recycle", "@recycle", "@recently-snapshot", ".@__thumb",
    }
)  # fmt: skip


def is_system_name(name: str) -> bool:
    """Whether a file or folder of this name, without the folders above it, is the system's."""
    return name.startswith(("._", ".Trash-")) or name.casefold() in NAMES
