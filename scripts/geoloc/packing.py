"""The jobs between raw files and models: pack a shard's images, then its arrays."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from geoloc.archives import ImageFiles
from geoloc.files import atomic_path
from geoloc.images import UnreadableImage, decode, prepare, resize_nearest
from geoloc.index import REJECTED_COLUMNS, read_rows
from geoloc.progress import Progress
from geoloc.sources import Source, SourceError
from geoloc.stores import (
    ARRAY_SIZE,
    read_image_columns,
    read_images,
    read_masks,
    write_arrays,
    write_images,
)

log = logging.getLogger(__name__)


def pack_shard(
    manifest: Path, sources: Mapping[str, Source], images: Path, quarantine: Path
) -> None:
    """Prepare every image of a manifest and write the `images` layout.

    What cannot be read goes to the CSV `quarantine` (source, path, reason) and the rest goes on.
    """
    rejected: list[tuple[str, str, str]] = []
    rows = read_rows(manifest)
    settings = {name: vars(s.preparation) for name, s in sorted(sources.items())}
    count = write_images(images, _prepared(rows, sources, rejected), settings)
    with atomic_path(quarantine) as temporary:
        pd.DataFrame(rejected, columns=REJECTED_COLUMNS).to_csv(temporary, index=False)
    log.info("%d images packed, %d in quarantine", count, len(rejected))


def _prepared(
    rows: Sequence[dict], sources: Mapping[str, Source], rejected: list
) -> Iterator[dict]:
    with ExitStack() as opened:
        files = {n: opened.enter_context(ImageFiles(s.folder)) for n, s in sources.items()}
        for row in Progress(rows, description="prepare"):
            source = sources[row["source"]]
            try:
                image = prepare(files[source.name].read(row["path"]), source.preparation)
            except (UnreadableImage, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                log.warning("%s: %s", source.folder / row["path"], reason)
                rejected.append((source.name, row["path"], reason))
                continue
            place = {k: float(row[k]) if row[k] else np.nan for k in ("latitude", "longitude")}
            yield {k: row[k] for k in ("image_id", "split", "source")} | place | {"image": image}


def pack_arrays(images: Path, masks: Path | None, label: str, arrays: Path) -> None:
    """Squash each image and its score map to 224×224 and write the `arrays` layout.

    Benchmark images have no masks; their score is 100 everywhere, so that no dataset dims them.
    """
    columns = read_image_columns(images)
    columns["label"] = np.full(len(columns["image_id"]), label)
    write_arrays(arrays, columns, _squashed(images, masks), {"size": ARRAY_SIZE})


def _squashed(images: Path, masks: Path | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    scores = read_masks(masks) if masks else None
    for image_id, data in read_images(images):
        image = resize_nearest(decode(data), ARRAY_SIZE)
        score = np.full((ARRAY_SIZE, ARRAY_SIZE), 100, np.uint8)
        if scores is not None:
            mask_id, score_map = next(scores)
            if mask_id != image_id:
                raise ValueError(
                    f"{masks} belongs to other images than {images} ({mask_id}, {image_id}); "
                    f"delete {masks} and run snakemake again"
                )
            score = resize_nearest(score_map, ARRAY_SIZE)
        yield image, score


def collect_quarantine(
    rejected: Path, shards: Sequence[Path], sizes: Mapping[str, int], max_unreadable: float
) -> list[tuple[str, str, str]]:
    """Gather what the index and the shards left out, sorted by source and path.

    rejected: CSV of the index; shards: CSVs of `pack_shard`; sizes: images by source. Raises
    SourceError where more than the share `max_unreadable` of a source could not be read.
    """
    unreadable = [tuple(row.values()) for path in shards for row in read_rows(path)]
    for source, size in sizes.items():
        count = sum(row[0] == source for row in unreadable)
        if count > max_unreadable * size:
            raise SourceError(
                f"source {source}: {count} of {size} images cannot be read, more than "
                f"prepare.max_unreadable = {max_unreadable:g}; the reasons are in "
                f"{Path(shards[0]).parents[1]}. Mend the files or raise the limit"
            )
    return sorted([tuple(row.values()) for row in read_rows(rejected)] + unreadable)


def write_quarantine(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Write the gathered quarantine as CSV."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([REJECTED_COLUMNS, *rows])
