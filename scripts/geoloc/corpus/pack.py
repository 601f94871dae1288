"""The jobs between raw files and models: pack a shard's images, then its arrays."""

from __future__ import annotations

import csv
import errno
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from geoloc.corpus.archives import ImageFiles
from geoloc.corpus.index import REJECTED_COLUMNS, read_rows
from geoloc.corpus.sources import Source, SourceError
from geoloc.files import atomic_path
from geoloc.images import MAX_MEGAPIXELS, UnreadableImage, decode, prepare, resize_nearest
from geoloc.progress import Progress
from geoloc.stores import read_image_columns, read_images_and_scores, write_arrays, write_images
from geoloc.types import ARRAY_SIZE

log = logging.getLogger(__name__)

# What is wrong with one file. Any other error of the system (a disk that fails, a server that does
# not answer, too many open files) would make all files unreadable and stops the job.
OF_THE_FILE = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP,
    errno.ENAMETOOLONG,
    None,  # of a decompressor
}  # fmt: skip
NAMED = 5  # files that a message names


def pack_shard(
    manifest: Path,
    sources: Mapping[str, Source],
    images: Path,
    quarantine: Path,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> None:
    """Prepare every image of a manifest and write the `images` layout.

    What cannot be read goes to the CSV `quarantine` (source, path, reason) and the rest goes on.
    Raises SourceError where a source's folder cannot be reached, and OSError where not a file but
    the disk or the machine is at fault.
    """
    rejected: list[tuple[str, str, str]] = []
    rows = read_rows(manifest)
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
    """Why an image cannot be read. Raises the error where that is not the image's fault, and
    SourceError where the folder of its source is gone."""
    if isinstance(error, OSError) and error.errno not in OF_THE_FILE:
        raise error
    _check_folder(source)
    return getattr(error, "strerror", None) or str(error)


def _check_folder(source: Source) -> None:
    """Raise SourceError where a source's folder cannot be listed or is empty, as that of a disk
    that is not mounted."""
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


def pack_arrays(
    images: Path,
    scores: Path | None,
    label: str,
    arrays: Path,
    index: str | Path | None = None,
) -> None:
    """Squash each image and its score map to 224×224 and write the `arrays` layout.

    Photographs of test sets have no score map; their score is 100 everywhere, so that no dataset
    dims them. `index`: folder of the index to compare the stores with; not compared if None.
    Raises StoreError for a damaged store, or scores that are not those of the images.
    """
    columns = read_image_columns(images, index)
    columns["label"] = np.full(len(columns["image_id"]), label)
    write_arrays(arrays, columns, _squashed(images, scores, index), {"size": ARRAY_SIZE})


def _squashed(
    images: Path, scores: Path | None, index: str | Path | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    unscored = np.full((ARRAY_SIZE, ARRAY_SIZE), 100, np.uint8)
    for _, data, score in read_images_and_scores(images, scores, index=index):
        image = resize_nearest(decode(data), ARRAY_SIZE)
        yield image, unscored if score is None else resize_nearest(score, ARRAY_SIZE)


def collect_quarantine(
    rejected: Path, shards: Sequence[Path], sizes: Mapping[str, int], max_unreadable: float
) -> list[tuple[str, str, str]]:
    """Gather what the index and the shards left out, sorted by source and path.

    rejected: CSV of the index; shards: CSVs of `pack_shard`; sizes: images by source. Raises
    SourceError where more than the share `max_unreadable` of a source could not be read.
    """
    unreadable = {path: [tuple(row.values()) for row in read_rows(path)] for path in shards}
    for source, size in sizes.items():
        count = sum(row[0] == source for rows in unreadable.values() for row in rows)
        if count > max_unreadable * size:
            lists = [p for p, rows in unreadable.items() if any(row[0] == source for row in rows)]
            raise SourceError(
                f"source {source}: {count} of {size} images cannot be read, more than "
                f"prepare.max_unreadable = {max_unreadable:g}. {_remedy(source, lists)}"
            )
    rows = [row for rows in unreadable.values() for row in rows]
    return sorted([tuple(row.values()) for row in read_rows(rejected)] + rows)


def _remedy(source: str, lists: Sequence[Path]) -> str:
    """What to do about the unreadable images of a source. lists: the files of `pack_shard` that
    name them, `quarantine/{collection}/{country}/{shard}.csv`, all of one collection."""
    folder = lists[0].parents[1]
    named = ", ".join(map(str, lists[:NAMED]))
    more = f" and {len(lists) - NAMED} more" if len(lists) > NAMED else ""
    command = f"grep -rl '^{source},' {shlex.quote(str(folder))} | xargs rm"
    return (
        f"The reasons are in {named}{more}. Mend the images and delete these files, so that "
        f"snakemake prepares their shards again (`{command}`), or raise the limit"
    )


def write_quarantine(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Write the gathered quarantine as CSV."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([REJECTED_COLUMNS, *rows])
