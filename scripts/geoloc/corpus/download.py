"""Download files: resumed after an interruption, verified, and complete or absent.

Pooch verifies too, but starts again after an interruption, and these files have gigabytes.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from geoloc.corpus.file_starts import described, is_web_page
from geoloc.errors import FileError, GeolocError
from geoloc.files import file_hash
from geoloc.progress import Progress

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte


class RetrieveError(GeolocError, RuntimeError):
    """A download failed. The message says what to put where by hand."""


def load_weights(path: str | Path) -> dict[str, dict]:
    """Read the entries of config/weights.yaml, by file or folder name."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def wrong_sizes(weights: Mapping[str, Mapping], folder: Path) -> list[str]:
    """Find weights whose file size differs from their entry, such as incomplete copies.

    Compares only sizes, which is fast enough to do before every run.

    Args:
        weights: entries of config/weights.yaml by file name.
        folder: where the files are.

    Returns:
        A message for each such file.
    """
    paths = ((folder / name, entry["size"]) for name, entry in weights.items() if "size" in entry)
    return [
        f"{path} has {path.stat().st_size} bytes, expected {size}; delete it"
        for path, size in paths
        if path.is_file() and path.stat().st_size != size
    ]


def check_sum(path: Path, entry: Mapping) -> None:
    """Compare a file with the size and SHA-256 of its entry in config/weights.yaml.

    Raises:
        RetrieveError: if they differ.
    """
    size = path.stat().st_size
    if size != entry.get("size", size):
        raise RetrieveError(f"{path} has {size} bytes, expected {entry['size']}; delete it")
    if "sha256" in entry and (found := file_hash(path)) != entry["sha256"]:
        raise RetrieveError(f"{path} has the sha256 {found}, expected {entry['sha256']}; delete it")


def checked_hash(path: Path, entry: Mapping) -> str:
    """Compare weights with their entry in config/weights.yaml.

    Args:
        path: a file, or a folder, of which subfolders do not count.
        entry: the entry, or an empty one.

    Returns:
        The sha256 of the file, or of the names and hashes of the files in the folder.

    Raises:
        RetrieveError: if a file has not the size or the sha256 of the entry.
    """
    if path.is_dir():
        sums = entry.get("files") or {}
        files = sorted(file for file in path.iterdir() if file.is_file())
        lines = [f"{checked_hash(file, sums.get(file.name) or {})} {file.name}" for file in files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
    check_sum(path, entry)
    return entry.get("sha256") or file_hash(path)


def download(
    url: str,
    path: Path,
    entry: Mapping | None = None,
    check: Callable[[Path], str] = lambda path: "",
) -> None:
    """Download `url` to `path`, resuming an earlier attempt.

    The file gets its final name only if its content is the expected one. Otherwise it is deleted,
    so the next run downloads it again.

    Args:
        url: the address.
        path: the file to write.
        entry: its expected `size` in bytes and `sha256`, if known.
        check: returns what is wrong with the content of a file, or "".

    Raises:
        RetrieveError: if the download fails or is not the expected file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    size = (entry or {}).get("size")
    try:
        if size and size > shutil.disk_usage(path.parent).free + _size(partial):
            raise FileError(f"it needs {size / 1e9:.1f} GB, which are not free in {path.parent}")
        _fetch(url, partial)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        large = f" ({size / 1e9:.1f} GB)" if size else ""
        raise RetrieveError(
            f"cannot download {url}{large}: {error}. Run again to resume, or download it elsewhere "
            f"and put it at {path}"
        ) from error
    try:
        _check_content(url, partial, path, check)
        check_sum(partial, entry or {})
    except RetrieveError:
        partial.unlink()
        raise
    partial.replace(path)


def _check_content(url: str, partial: Path, path: Path, check: Callable[[Path], str]) -> None:
    """Raise RetrieveError for a web page, which is never what was asked for, or by `check`."""
    problem = check(partial) or ("it is not the file" if is_web_page(partial) else "")
    if problem:
        raise RetrieveError(
            f"{url} returned {described(partial)}: {problem}. If it asks to sign in, download it "
            f"in a browser and put it at {path}; otherwise correct the address or run again"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(url: str, partial: Path) -> None:
    start = _size(partial)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:  # complete already, or another file
            if error.headers.get("Content-Range", "").endswith(f"/{start}"):
                return
            partial.unlink()
        raise
    with response:
        resumed = response.status == 206
        length = int(response.headers.get("Content-Length") or 0)
        total = -(-length // CHUNK) or None
        blocks = iter(lambda: response.read(CHUNK), b"")
        with partial.open("ab" if resumed else "wb") as file:
            for block in Progress(blocks, total, partial.stem, unit="MiB"):
                file.write(block)
        expected = length + (start if resumed else 0)
        if length and partial.stat().st_size != expected:
            raise FileError(f"cut off after {partial.stat().st_size} of {expected} bytes")
