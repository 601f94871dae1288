"""Data and weights from elsewhere: resumed, verified, and whole or absent."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import yaml

from geoloc.progress import Progress

log = logging.getLogger(__name__)

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte


class RetrieveError(RuntimeError):
    """Something could not be fetched; the message says what to put where by hand."""


def load_weights(path: str | Path) -> dict[str, dict]:
    """Entries of config/weights.yaml by file or folder name."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def check_sum(path: Path, entry: Mapping) -> None:
    """Raise RetrieveError where a file has not the size and the sums of its entry. A sum may be
    given by its beginning."""
    size = path.stat().st_size
    if size != entry.get("size", size):
        raise RetrieveError(f"{path} has {size} bytes, expected {entry['size']}; delete it")
    for kind in ("sha256", "md5"):
        if kind in entry:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, kind).hexdigest()
            if not found.startswith(entry[kind]):
                raise RetrieveError(
                    f"{path} has the {kind} {found}, expected {entry[kind]}; delete it"
                )


def download(url: str, path: Path, entry: Mapping | None = None) -> None:
    """Fetch `url` to `path`, going on with what an earlier try left behind, and verify it by the
    `size`, `sha256` and `md5` of `entry`. Raises RetrieveError with the remedy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        _fetch(url, partial)
    except (urllib.error.URLError, OSError) as error:
        raise RetrieveError(
            f"cannot fetch {url}: {error}. Run again to go on, or fetch it elsewhere and put it at "
            f"{path}"
        ) from error
    try:
        check_sum(partial, entry or {})
    except RetrieveError:
        partial.unlink()
        raise
    partial.replace(path)


def _fetch(url: str, partial: Path) -> None:
    start = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:  # nothing is left to fetch
            return
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
            raise OSError(f"cut off after {partial.stat().st_size} of {expected} bytes")


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into `folder`, which appears only when complete. Raises
    RetrieveError for members that point outside the folder and for what is no archive."""
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        if zipfile.is_zipfile(archive):
            _unzip(archive, temporary)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                file.extractall(temporary, filter="data")
        else:
            raise RetrieveError(f"{archive} is neither a zip nor a tar archive")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise RetrieveError(f"cannot unpack {archive}: {error}") from error
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def _unzip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in Progress(file.infolist(), description="unpack", unit="files"):
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:
                raise RetrieveError(f"{archive} has a member outside its folder: {path}")
            file.extract(member, folder)


def retrieve_kaggle(dataset: str, folder: Path) -> None:
    """Fetch and unpack a Kaggle dataset with the official client, which takes its credentials from
    KAGGLE_USERNAME and KAGGLE_KEY or from its usual file."""
    by_hand = (
        f"or download https://www.kaggle.com/datasets/{dataset} in a browser and unpack it into "
        f"{folder}"
    )
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError as error:
        raise RetrieveError(
            f"the package kaggle is not installed: pip install kaggle, {by_hand}"
        ) from error
    except (OSError, SystemExit, ValueError) as error:
        raise RetrieveError(
            f"no Kaggle credentials: set KAGGLE_USERNAME and KAGGLE_KEY, {by_hand}"
        ) from error
    temporary = folder.with_name(f".{folder.name}.download")
    try:
        api = KaggleApi()
        api.authenticate()
        api.dataset_download_files(dataset, path=str(temporary), quiet=False)
    except (Exception, SystemExit) as error:  # the client raises what its HTTP library raises
        raise RetrieveError(
            f"Kaggle did not give {dataset} ({error}); try again, {by_hand}"
        ) from error
    for archive in temporary.glob("*.zip"):
        unpack(archive, folder)
    shutil.rmtree(temporary)


def retrieve_model(entry: Mapping, folder: Path) -> None:
    """Fetch a model folder from its hub: safetensors and text, nothing that can be executed.
    Raises RetrieveError with the remedy."""
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.safetensors"]
    try:
        snapshot_download(
            entry["hub_id"], revision=entry["revision"], local_dir=folder, allow_patterns=patterns
        )
    except Exception as error:  # the client raises what its HTTP library raises
        raise RetrieveError(
            f"cannot fetch {entry['hub_id']}: {error}. Run again to go on, or fetch it elsewhere "
            f"and put it at {folder}"
        ) from error


def retrieve_source(name: str, entry: Mapping) -> None:
    """Fetch a source as its `retrieve` entry in the configuration says."""
    how, folder = entry["retrieve"], Path(entry["path"])
    if "kaggle" in how:
        retrieve_kaggle(how["kaggle"], folder)
        return
    if not how.get("archive"):
        raise RetrieveError(
            f"{name} cannot be fetched without a browser: download its images, put them into "
            f"{folder / entry.get('images', '.')} and the table beside them "
            f"({folder / (entry.get('table') or '')}), or set its retrieve.archive"
        )
    archive = Path(how["archive"])
    if how["archive"].startswith(("https://", "http://")):
        archive = folder.with_name(Path(how["archive"]).name)
        download(how["archive"], archive)
    if not archive.is_file():
        raise RetrieveError(f"{name}: there is no archive {archive}")
    unpack(archive, folder)
    if "table_url" in how:
        download(how["table_url"], folder / entry["table"])
