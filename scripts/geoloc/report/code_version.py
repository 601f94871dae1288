"""Which commit of the project runs. Planning imports this module, so it loads nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any


def code_version(root: Path) -> dict[str, Any]:
    """Return the commit of the project and whether its files are those of the commit.

    Args:
        root: folder of the project.

    Returns:
        `commit`, 40 hexadecimal digits, and `clean`; both None without Git, and where the folder is
        not itself a checkout, even if it lies in one.
    """
    unknown = {"commit": None, "clean": None}
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != Path(root).resolve():
        return unknown
    commit, changed = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    if commit is None or changed is None:
        return unknown
    return {"commit": commit, "clean": not changed}


def _git(root: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
