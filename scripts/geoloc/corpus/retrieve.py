"""Data and weights from elsewhere: resumed, verified, and whole or absent."""

from __future__ import annotations

import http.client
import logging
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from geoloc.corpus.downloads import check_archive, check_table
from geoloc.corpus.file_starts import described, is_web_page
from geoloc.corpus.unpack import DamagedArchive, find_archive, unpack
from geoloc.errors import FileError, GeolocError
from geoloc.files import file_hash
from geoloc.images import EXTENSIONS
from geoloc.progress import Progress

log = logging.getLogger(__name__)

CHUNK = 1 << 20
TIMEOUT = 60  # seconds without a byte


class RetrieveError(GeolocError, RuntimeError):
    """Something could not be fetched; the message says what to put where by hand."""


def load_weights(path: str | Path) -> dict[str, dict]:
    """Entries of config/weights.yaml by file or folder name."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def wrong_sizes(weights: Mapping[str, Mapping], folder: Path) -> list[str]:
    """A line for each file of weights in `folder` that has not the size of its entry, as half a
    copy has. Looks at nothing but sizes, so it is done before every run."""
    paths = ((folder / name, entry["size"]) for name, entry in weights.items() if "size" in entry)
    return [
        f"{path} has {path.stat().st_size} bytes, expected {size}; delete it"
        for path, size in paths
        if path.is_file() and path.stat().st_size != size
    ]


def check_sum(path: Path, entry: Mapping) -> None:
    """Raise RetrieveError where a file has not the size and the sha256 of its entry."""
    size = path.stat().st_size
    if size != entry.get("size", size):
        raise RetrieveError(f"{path} has {size} bytes, expected {entry['size']}; delete it")
    if "sha256" in entry and (found := file_hash(path)) != entry["sha256"]:
        raise RetrieveError(f"{path} has the sha256 {found}, expected {entry['sha256']}; delete it")


def download(
    url: str,
    path: Path,
    entry: Mapping | None = None,
    check: Callable[[Path], str] = lambda path: "",
) -> None:
    """Fetch `url` to `path`, going on with what an earlier try left behind.

    The file takes its name only when it is what was asked for. Otherwise it is deleted, so that the
    next run fetches it again.

    Args:
        entry: its `size` and `sha256`, where they are known.
        check: says what is wrong with the content of a file, "" where nothing is.

    Raises:
        RetrieveError: with the remedy.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    size = (entry or {}).get("size")
    try:
        if size and size > shutil.disk_usage(path.parent).free + _size(partial):
            raise FileError(f"{path.parent} has not the {size / 1e9:.1f} GB free that it needs")
        _fetch(url, partial)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        large = f" ({size / 1e9:.1f} GB)" if size else ""
        raise RetrieveError(
            f"cannot fetch {url}{large}: {error}. Run again to go on, or fetch it elsewhere and "
            f"put it at {path}"
        ) from error
    try:
        _check_content(url, partial, path, check)
        check_sum(partial, entry or {})
    except RetrieveError:
        partial.unlink()
        raise
    partial.replace(path)


def _check_content(url: str, partial: Path, path: Path, check: Callable[[Path], str]) -> None:
    """Nothing that is retrieved here is a web page, whatever its status."""
    problem = check(partial) or ("it is not the file" if is_web_page(partial) else "")
    if problem:
        raise RetrieveError(
            f"{url} gave {described(partial)}: {problem}. If it asks to sign in, download it in a "
            f"browser and put it at {path}; otherwise correct the address or run again"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fetch(url: str, partial: Path) -> None:
    start = _size(partial)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if start and error.code == 416:  # nothing is left to fetch, or it is another file
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


def retrieve_source(name: str, entry: Mapping) -> None:
    """Put a source into its folder, out of the archive that lies beside the folder under its name
    or, without one, from where its `retrieve` entry in the configuration says.

    The folder appears only when its images and its table are where the configuration has them.
    Raises RetrieveError, which says what is missing, where it comes from, into which folder it
    belongs and how large it is, and ArchiveError for an archive that must not be unpacked. A
    damaged archive is deleted where it was downloaded here, so that the next run fetches it anew.
    """
    how, folder = entry["retrieve"], Path(entry["path"])
    if folder.is_symlink():
        raise RetrieveError(f"{folder} is a link to {folder.readlink()}, where there is nothing")
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
        reason = f"there is no archive {archive}" if archive else "no address serves its images"
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
            f"{name}: the download was damaged and is deleted ({error}). Run again to fetch it anew"
        ) from error
    shutil.rmtree(downloads, ignore_errors=True)


def _missing(name: str, entry: Mapping, reason: str) -> RetrieveError:
    """What to do by hand where a source cannot be fetched."""
    how, folder = entry["retrieve"], Path(entry["path"])
    page = how.get("page") or f"https://www.kaggle.com/datasets/{how.get('kaggle')}"
    large = f" (about {how['gigabytes']:g} GB)" if how.get("gigabytes") else ""
    table = f" and its table at {folder / entry['table']}" if entry.get("table") else ""
    return RetrieveError(
        f"{name}: {reason}. By hand: download it{large} from {page} and put the archive "
        f"beside its folder, as {folder}.zip or .tar.gz, or its images into "
        f"{folder / entry.get('images', '.')}{table}. A link will do"
    )


def _fetch_kaggle(name: str, entry: Mapping, folder: Path) -> Path:
    """Fetch the archive of a Kaggle dataset into `folder` with the official client, which goes on
    with what an earlier try left there."""
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
            "there are no Kaggle credentials: call `kaggle auth login`, or set KAGGLE_API_TOKEN, "
            "or KAGGLE_USERNAME and KAGGLE_KEY, and run again",
        ) from error
    try:
        api.dataset_download_files(dataset, path=str(folder), quiet=False)
    except (Exception, SystemExit) as error:  # the client raises what its HTTP library raises
        raise _missing(
            name, entry, f"Kaggle did not give {dataset} ({error}); run again to go on"
        ) from error
    return folder / f"{dataset.partition('/')[2]}.zip"


def _fetch_table(name: str, entry: Mapping) -> Path | None:
    """The table that does not come with the images, next to the source's folder."""
    how = entry["retrieve"]
    if not how.get("table_url"):
        return None
    table = Path(entry["path"]).with_name(Path(entry["table"]).name)
    columns = entry | entry.get("columns", {})
    if not table.is_file():
        download(
            how["table_url"], table, None, lambda path: check_table(path, name, columns, table)
        )
    elif problem := check_table(table, name, columns):
        raise RetrieveError(
            f"{table} is {described(table)}: {problem}. Delete it and run again to retrieve it, or "
            "put the right table there"
        )
    return table


def _arrange(name: str, entry: Mapping, folder: Path, table: Path | None) -> None:
    """Bring the images of an unpacked archive to where the configuration has them: out of a folder
    around everything, or out of the only folder of images whatever its name."""
    wanted = folder / entry.get("images", ".")
    if not wanted.is_dir():
        found = [path for path in folder.rglob(wanted.name) if path.is_dir()]
        if len(found) != 1 and entry["kind"] != "country_folders":
            found = _folders_of_images(folder)
        if len(found) != 1:
            names = ", ".join(sorted(path.name for path in folder.iterdir())[:9])
            raise RetrieveError(
                f"{name}: the archive holds no folder {entry['images']} but {names}; set "
                f"sources.{name}.images to the folder of the images, or pack it anew"
            )
        _move(found[0], wanted)
    if not entry.get("table"):
        return
    target = folder / entry["table"]
    found = list(folder.rglob(target.name)) if table is None else [table]
    if not target.is_file() and len(found) != 1:
        raise RetrieveError(
            f"{name}: the archive holds no {entry['table']}; set sources.{name}.table to its table"
        )
    if not target.is_file():
        shutil.copyfile(found[0], target)


def _folders_of_images(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("[!.]*") if path.suffix.lower() in EXTENSIONS)
    return sorted({path.parent for path in files})


def _move(source: Path, target: Path) -> None:
    """Rename a folder, or move what is in it where the target is inside it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source not in target.parents:
        source.rename(target)
        return
    inside = [path for path in source.iterdir() if path not in (target, *target.parents)]
    target.mkdir(exist_ok=True)
    for path in inside:
        path.rename(target / path.name)


def retrieve_model(entry: Mapping, folder: Path) -> None:
    """Fetch a model folder from its hub at a pinned revision: the files of the entry, each with
    the sums that are known, and nothing else.

    Pickled weights are converted to safetensors once, read with `weights_only`. The folder appears
    only when it holds a whole CLIP, see `load_clip`. Raises RetrieveError with the remedy.
    """
    from huggingface_hub import snapshot_download

    from geoloc.image_text.folder import load_clip

    temporary = folder.with_name(f".{folder.name}.partial")
    try:
        snapshot_download(
            entry["hub_id"],
            revision=entry["revision"],
            local_dir=temporary,
            allow_patterns=list(entry["files"]),
        )
    except Exception as error:  # the client raises what its HTTP library raises
        large = f" (about {entry['gigabytes']:g} GB)" if "gigabytes" in entry else ""
        raise RetrieveError(
            f"cannot fetch {entry['hub_id']}{large}: {' '.join(str(error).split())} Run again to "
            f"go on, or fetch revision {entry['revision']} elsewhere and put it at {folder}"
        ) from error
    _check_files(entry, temporary)
    try:
        if "pytorch_model.bin" in entry["files"]:
            _convert(temporary / "pytorch_model.bin")
        load_clip(temporary)
    except OSError as error:
        if error.errno is None:  # not the machine's: fetched again, it could be another
            shutil.rmtree(temporary)
        raise RetrieveError(
            f"{entry['hub_id']} at revision {entry['revision']} is no whole CLIP: {error}"
        ) from error
    shutil.rmtree(temporary / ".cache", ignore_errors=True)
    temporary.replace(folder)


def _check_files(entry: Mapping, folder: Path) -> None:
    """Raise RetrieveError where a file of the entry is missing or, then deleted, the wrong one."""
    missing = [name for name in entry["files"] if not (folder / name).is_file()]
    if missing:
        raise RetrieveError(
            f"{entry['hub_id']} has no {', '.join(missing)} at revision {entry['revision']}"
        )
    for name, sums in entry["files"].items():
        try:
            check_sum(folder / name, sums or {})
        except RetrieveError:
            shutil.rmtree(folder)
            raise


def _convert(pickled: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from geoloc.pytorch.weights import read_tensors

    log.info("converting %s to safetensors", pickled.name)
    state = read_tensors(pickled, "retrieve it again")
    state = {name: tensor.clone().contiguous() for name, tensor in state.items()}
    try:
        save_file(state, pickled.with_name("model.safetensors"), {"format": "pt"})
    except SafetensorError as error:  # of a full disk, too
        raise RetrieveError(f"cannot write next to {pickled}: {error}; run again") from error
    pickled.unlink()
