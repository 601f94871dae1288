"""Rule `prepare`: decode, orient, crop and resize the raw files of a shard."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from geoloc.corpus.archives import ImageFiles
from geoloc.corpus.index_tables import REJECTED_COLUMNS, read_manifest
from geoloc.corpus.sources import Source, SourceError
from geoloc.files import atomic_path
from geoloc.images import MAX_MEGAPIXELS, UnreadableImage, prepare
from geoloc.progress import Progress
from geoloc.stores import write_images

log = logging.getLogger(__name__)

# Errors of a single file. Any other system error (a failing disk, a server that does not answer,
# too many open files) would make all files unreadable, so it stops the job.
OF_THE_FILE = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    None,  # of a decompressor
}


def prepare_shard(
    manifest: Path,
    sources: Mapping[str, Source],
    images: Path,
    quarantine: Path,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> None:
    """Prepare every image of a manifest and write the `images` layout.

    Images that can't be read are listed in the CSV `quarantine` (source, path, reason), and the job
    continues.

    Args:
        manifest: CSV of the shard's images.
        sources: the sources by name.
        images: the store to write.
        quarantine: the CSV to write.
        max_megapixels: larger images are quarantined.

    Raises:
        SourceError: if a source's folder can't be reached.
        FileError: if the manifest is damaged.
        OSError: if the disk or the machine fails, not a single file.
    """
    rejected: list[tuple[str, str, str]] = []
    rows = read_manifest(manifest)
    settings = {name: vars(s.preparation) for name, s in sorted(sources.items())}
    count = write_images(images, _prepared(rows, sources, rejected, max_megapixels), settings)
    with atomic_path(quarantine) as temporary:
        pd.DataFrame(rejected, columns=REJECTED_COLUMNS).to_csv(temporary, index=False)
    log.info("%d images packed, %d in quarantine", count, len(rejected))


def _prepared(
    rows: Sequence[dict], sources: Mapping[str, Source], rejected: list, max_megapixels: float
) -> Iterator[dict]:
    with ExitStack() as opened:
        files = {n: opened.enter_context(ImageFiles(s.folder)) for n, s in sources.items()}
        for row in Progress(rows, description="prepare"):
            source = sources[row["source"]]
            try:
                data = files[source.name].read(row["path"])
                image = prepare(data, source.preparation, max_megapixels)
            except (UnreadableImage, OSError) as error:
                reason = _reason(error, source)
                log.warning("%s: %s", source.folder / row["path"], reason)
                rejected.append((source.name, row["path"], reason))
                continue
            place = {k: float(row[k]) if row[k] else np.nan for k in ("latitude", "longitude")}
            yield {k: row[k] for k in ("image_id", "split", "source")} | place | {"image": image}


def _reason(error: UnreadableImage | OSError, source: Source) -> str:
    """Return why an image can't be read.

    Raises the error if it does not concern this file alone, and SourceError if the folder of the
    source is gone.
    """
    if isinstance(error, OSError) and error.errno not in OF_THE_FILE:
        raise error
    _check_folder(source)
    return getattr(error, "strerror", None) or str(error)


def _check_folder(source: Source) -> None:
    """Raise SourceError if a source's folder can't be listed or is empty, as when its disk is not
    mounted."""
    try:
        with os.scandir(source.folder) as entries:
            problem = "" if any(entries) else "is empty"
    except OSError as error:
        problem = f"cannot be reached ({error.strerror})"
    if problem:
        raise SourceError(
            f"source {source.name}: the folder {source.folder} {problem}; is its disk mounted on "
            "this machine? Mount it and run again"
        )
