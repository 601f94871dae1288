"""Put sources into their folders, from archives, the web or Kaggle."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from geoloc.corpus.download import RetrieveError, download
from geoloc.corpus.download_checks import check_archive, check_table
from geoloc.corpus.file_starts import described
from geoloc.corpus.unpack import DamagedArchive, find_archive, unpack
from geoloc.images import EXTENSIONS

log = logging.getLogger(__name__)


def retrieve_source(name: str, entry: Mapping) -> None:
    """Put a source into its folder, from an archive next to the folder or as `retrieve` says.

    The folder appears only when its images and its table are where the configuration expects them.
    A downloaded archive that is damaged is deleted, so the next run downloads it again.

    Args:
        name: name of the source, for messages.
        entry: its entry in the configuration, with `path` and `retrieve`.

    Raises:
        RetrieveError: with what is missing, where to get it, where to put it and how large it is.
        ArchiveError: if the archive is not safe to unpack.
    """
    how, folder = entry["retrieve"] or {}, Path(entry["path"])
    if folder.is_symlink():
        raise RetrieveError(
            f"{folder} is a link to {folder.readlink()}, which does not exist; "
            "correct or delete the link"
        )
    archive, downloads = find_archive(folder), folder.with_name(f".{folder.name}.download")
    if archive is None and (how.get("archive") or "").startswith(("https://", "http://")):
        archive = downloads / how["archive"].rpartition("/")[2]
        if not archive.exists():
            download(how["archive"], archive, check=check_archive)
    elif archive is None and how.get("archive"):
        archive = Path(how["archive"])
    elif archive is None and how.get("kaggle"):
        archive = _fetch_kaggle(name, entry, downloads)
    if archive is None or not archive.is_file():
        reason = f"the archive {archive} does not exist" if archive else "its images have no URL"
        raise _missing(name, entry, reason)
    table = _fetch_table(name, entry)
    log.info("%s: unpacking %s", name, archive)
    try:
        unpack(archive, folder, lambda unpacked: _arrange(name, entry, unpacked, table))
    except DamagedArchive as error:
        if archive.parent != downloads:
            raise
        archive.unlink()
        raise RetrieveError(
            f"{name}: the download was damaged and has been deleted ({error}). Run again to "
            "download it again"
        ) from error
    shutil.rmtree(downloads, ignore_errors=True)


def _missing(name: str, entry: Mapping, reason: str) -> RetrieveError:
    """Say what to do by hand if a source can't be downloaded."""
    how, folder = entry["retrieve"], Path(entry["path"])
    page = how.get("page") or f"https://www.kaggle.com/datasets/{how.get('kaggle')}"
    large = f" (about {how['gigabytes']:g} GB)" if how.get("gigabytes") else ""
    table = f" and its table at {folder / entry['table']}" if entry.get("table") else ""
    return RetrieveError(
        f"{name}: {reason}. Download it yourself{large} from {page} and put the archive next "
        f"to its folder, as {folder}.zip or .tar.gz, or its images into "
        f"{folder / entry.get('images', '.')}{table}. Links work too"
    )


def _fetch_kaggle(name: str, entry: Mapping, folder: Path) -> Path:
    """Download the archive of a Kaggle dataset to `folder` with the official client, which resumes
    interrupted downloads."""
    dataset = entry["retrieve"]["kaggle"]
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi

        api = KaggleApi()
        api.authenticate()
    except ImportError as error:
        raise _missing(name, entry, "the package kaggle is not installed") from error
    except (OSError, SystemExit, ValueError) as error:  # the client leaves the program
        raise _missing(
            name,
            entry,
            "no Kaggle credentials found: run `kaggle auth login`, or set KAGGLE_API_TOKEN, "
            "or KAGGLE_USERNAME and KAGGLE_KEY, and run again",
        ) from error
    try:
        api.dataset_download_files(dataset, path=str(folder), quiet=False)
    except (Exception, SystemExit) as error:  # the client raises what its HTTP library raises
        raise _missing(
            name, entry, f"Kaggle did not deliver {dataset} ({error}); run again to resume"
        ) from error
    return folder / f"{dataset.partition('/')[2]}.zip"


def _fetch_table(name: str, entry: Mapping) -> Path | None:
    """Return the table that does not come with the images, next to the source's folder."""
    how = entry["retrieve"] or {}
    if not how.get("table_url"):
        return None
    table = Path(entry["path"]).with_name(Path(entry["table"]).name)
    if not table.is_file():
        download(how["table_url"], table, None, lambda path: check_table(path, name, entry, table))
    elif problem := check_table(table, name, entry):
        raise RetrieveError(
            f"{table} is {described(table)}: {problem}. Delete it and run again to download it, or "
            "put the right table there"
        )
    return table


def _arrange(name: str, entry: Mapping, folder: Path, table: Path | None) -> None:
    """Move the images of an unpacked archive to where the configuration expects them, if they are
    in one outer folder or in a folder with another name."""
    wanted = folder / entry.get("images", ".")
    if not wanted.is_dir():
        found = [path for path in folder.rglob(wanted.name) if path.is_dir()]
        if len(found) != 1 and entry["kind"] != "country_folders":
            found = _folders_of_images(folder)
        if len(found) != 1:
            names = ", ".join(sorted(path.name for path in folder.iterdir())[:9])
            raise RetrieveError(
                f"{name}: the archive has {names}, but no folder {entry['images']}; set "
                f"sources.{name}.images to the folder of the images, or repack the archive"
            )
        _move(found[0], wanted)
    if not entry.get("table"):
        return
    target = folder / entry["table"]
    found = list(folder.rglob(target.name)) if table is None else [table]
    if not target.is_file() and len(found) != 1:
        raise RetrieveError(
            f"{name}: {entry['table']} is missing from the archive; set sources.{name}.table to "
            "the path of its table"
        )
    if not target.is_file():
        shutil.copyfile(found[0], target)


def _folders_of_images(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("[!.]*") if path.suffix.lower() in EXTENSIONS)
    return sorted({path.parent for path in files})


def _move(source: Path, target: Path) -> None:
    """Rename a folder, or move its content if the target is inside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source not in target.parents:
        source.rename(target)
        return
    inside = [path for path in source.iterdir() if path not in (target, *target.parents)]
    target.mkdir(exist_ok=True)
    for path in inside:
        path.rename(target / path.name)
