"""Names of files and folders that operating systems, network drives and notebooks create."""

from __future__ import annotations

NAMES = frozenset({
    "__macosx", ".ds_store", ".appledouble", ".apdisk", ".fseventsd", ".spotlight-v100",
    ".documentrevisions-v100", ".temporaryitems", ".trashes", "network trash folder",
    "temporary items", "icon\r",
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "recycler",
    "recycled", "system volume information",
    "@eadir", "@recycle", "@recently-snapshot", "@tmp", ".@__thumb", "#recycle", "#snapshot",
    "~snapshot", "lost+found", "__pycache__", ".ipynb_checkpoints",
})  # fmt: skip


def is_system_name(name: str) -> bool:
    """Return whether a file or folder with this name, without its parent folders, is a system's."""
    return name.startswith(("._", ".Trash-")) or name.casefold() in NAMES
