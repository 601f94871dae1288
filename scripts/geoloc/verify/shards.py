"""The stores of every shard: the images of its manifest and no others, the same in every stage."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from geoloc.images import decode, resize_nearest
from geoloc.index import REJECTED_COLUMNS
from geoloc.packing import collect_quarantine
from geoloc.scoring import read_selected, score_map
from geoloc.stores import (
    ARRAY_SIZE,
    Arrays,
    config_hash,
    read_config,
    read_image_columns,
    read_images,
    read_masks,
    read_segments,
)
from geoloc.verify.index import REJECTED
from geoloc.verify.run import (
    AGAIN,
    SNAKEMAKE,
    Check,
    Finding,
    Run,
    Shard,
    compare_text,
    csv_text,
    failure,
    read_table,
    read_text,
    some,
)

QUARANTINE = "quarantine.csv"
STAGES = ("images", "segments", "masks", "arrays", "quarantine")
SAMPLED = 2  # images of a shard that are recomputed unless all content is read
PACKED = "the images that were packed"


def check_quarantine(run: Run) -> Check:
    """Each image of a manifest was packed or is in quarantine; quarantine.csv has all of these."""
    packed, paths, complete = [], [], True
    for shard, rows in run.shards():
        name = shard.name("quarantine")
        try:
            table = read_table(shard.path("quarantine"), REJECTED_COLUMNS)
        except (OSError, ValueError) as error:
            yield failure(name, error)
            packed.append(rows)
            complete = False
            continue
        paths.append(shard.path("quarantine"))
        left_out = list(zip(table.source, table.path, strict=True))
        keys = pd.Series(list(zip(rows.source, rows.path, strict=True)), rows.index, dtype=object)
        yield from _of_the_manifest(name, left_out, keys)
        packed.append(rows[~keys.isin(left_out)])
    run.tables[PACKED] = pd.concat(packed).sort_index() if packed else run.images
    sizes = run.images.source.value_counts().to_dict()
    limit = run.configuration["prepare"]["max_unreadable"] if run.configuration else 1.0
    left_out = len(run.images) - len(run.tables[PACKED])
    if complete:
        rows = collect_quarantine(run.folder / REJECTED, paths, sizes, limit)
        expected = csv_text(pd.DataFrame(rows, columns=REJECTED_COLUMNS))
        found = read_text(run.folder / QUARANTINE)
        source = f"{REJECTED} and the tables below quarantine/"
        yield from compare_text(QUARANTINE, found, expected, source)
    return f"{left_out} of {len(run.images):,} images left out"


def _of_the_manifest(name: str, left_out: Sequence, keys: pd.Series) -> Iterator[Finding]:
    position = {key: number for number, key in enumerate(keys)}
    if unknown := ["/".join(key) for key in left_out if key not in position]:
        yield Finding(name, f"{some(unknown)} are no images of the shard; {AGAIN}")
    order = [position[key] for key in left_out if key in position]
    if order != sorted(set(order)):
        yield Finding(name, f"images repeat or are not in the manifest's order; {AGAIN}")


def shards_with_packed(run: Run) -> Iterator[tuple[Shard, pd.DataFrame]]:
    """Each shard of the index with the rows of those images that its stores must have."""
    packed = run.need(PACKED)
    for shard, rows in run.shards():
        yield shard, packed.loc[rows.index.intersection(packed.index)]


def check_images(run: Run) -> Check:
    """Stores of packed images have what the index says of each image."""
    tasks = [
        (shard.name("images"), shard, rows, run.digests) for shard, rows in shards_with_packed(run)
    ]
    yield from run.map(images_of_shard, tasks)
    return f"{len(run.need(PACKED)):,} in {len(tasks)} shards"


def images_of_shard(name: str, shard: Shard, rows: pd.DataFrame, digests: bool) -> list[Finding]:
    columns = read_image_columns(shard.path("images"))
    findings = compare_ids(name, columns["image_id"], rows.image_id)
    return findings or compare_columns(name, columns, rows)


def check_segments(run: Run) -> Check:
    """Every street image was segmented, once."""
    street = [(shard, rows) for shard, rows in shards_with_packed(run) if shard.street]
    tasks = [(shard.name("segments"), shard, rows, run.digests) for shard, rows in street]
    yield from run.map(segments_of_shard, tasks)
    return f"{sum(len(rows) for _, rows in street):,} images in {len(tasks)} shards"


def segments_of_shard(name: str, shard: Shard, rows: pd.DataFrame, digests: bool) -> list[Finding]:
    ids = [segments.image_id for segments in read_segments(shard.path("segments"))]
    return compare_ids(name, ids, rows.image_id)


def check_masks(run: Run) -> Check:
    """Score maps are those of the segments, by the run's class list."""
    street = [(shard, rows) for shard, rows in shards_with_packed(run) if shard.street]
    settings = mask_settings(run) if run.configuration else None
    tasks = [(shard.name("masks"), shard, rows, settings, run.digests) for shard, rows in street]
    yield from run.map(masks_of_shard, tasks)
    recomputed = "; class list unknown, none recomputed" if settings is None else ""
    return f"{sum(len(rows) for _, rows in street):,} images in {len(tasks)} shards{recomputed}"


def mask_settings(run: Run) -> dict:
    """What the job mask takes from the configuration, in the form in which its stores record it."""
    mask = run.config["mask"]
    path = run.base / mask["selected_classes"]
    selected = read_selected(path, mask["ambiguous_classes"]).tolist()
    return {"selected": selected, "minimum": mask["minimum"], "merge": mask["merge"]}


def masks_of_shard(
    name: str, shard: Shard, rows: pd.DataFrame, settings: dict | None, digests: bool
) -> list[Finding]:
    path = shard.path("masks")
    chosen = set(sample(name, rows.image_id, digests))
    found = dict(read_masks(path))
    if findings := compare_ids(name, list(found), rows.image_id):
        return findings
    if settings is None:
        return []
    if read_config(path, "masks") != config_hash(settings):
        return [Finding(name, "was made with another class list, minimum or merge than the run's "
                        f"configuration has; {AGAIN}")]  # fmt: skip
    selected, minimum, merge = settings["selected"], settings["minimum"], settings["merge"]
    findings = []
    for segments in read_segments(shard.path("segments")):
        if segments.image_id in chosen:
            expected = score_map(segments, selected, minimum, merge)
            if not np.array_equal(found[segments.image_id], expected):
                findings.append(f"{segments.image_id}")
    return [Finding(name, f"the score maps of {some(findings)} are not those of the segments; "
                    f"{AGAIN}")] if findings else []  # fmt: skip


def check_arrays(run: Run) -> Check:
    """Arrays are the packed images and their score maps, with the labels of the index."""
    tasks = [
        (shard.name("arrays"), shard, rows, run.digests) for shard, rows in shards_with_packed(run)
    ]
    yield from run.map(arrays_of_shard, tasks)
    return f"{len(run.need(PACKED)):,} images in {len(tasks)} shards"


def arrays_of_shard(name: str, shard: Shard, rows: pd.DataFrame, digests: bool) -> list[Finding]:
    arrays = Arrays([shard.path("arrays")])
    if findings := compare_ids(name, arrays.image_id, rows.image_id):
        return findings
    columns = {column: getattr(arrays, column) for column in
               ("label", "split", "source", "latitude", "longitude")}  # fmt: skip
    findings = compare_columns(name, columns, rows.assign(label=rows.country))
    chosen = set(sample(name, rows.image_id, digests))
    scores = dict(read_masks(shard.path("masks"), chosen)) if shard.street else {}
    position = {image_id: row for row, image_id in enumerate(arrays.image_id)}
    other = Counter()
    for image_id, data in read_images(shard.path("images"), image_ids=chosen):
        (image,), (score,) = arrays.read(np.array([position[image_id]]))
        if not np.array_equal(image, resize_nearest(decode(data), ARRAY_SIZE)):
            other[f"pixels are not those of {shard.name('images')}"] += 1
        wanted = np.full_like(score, 100)
        if shard.street:
            wanted = resize_nearest(scores[image_id], ARRAY_SIZE)
        if not np.array_equal(score, wanted):
            source = shard.name("masks") if shard.street else "100, as a benchmark's are"
            other[f"scores are not those of {source}" if shard.street else
                  f"scores are not {source}"] += 1  # fmt: skip
    return findings + [
        Finding(name, f"{what} in {count} of {len(chosen)} images; {AGAIN}")
        for what, count in other.items()
    ]


def sample(name: str, image_ids: pd.Series, everything: bool) -> list[str]:
    """Ids of the images of a shard that are recomputed: the first, and others that its name
    chooses, always the same."""
    ids = list(image_ids)
    if everything or len(ids) <= SAMPLED:
        return ids
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [ids[0], *(ids[row] for row in 1 + rng.choice(len(ids) - 1, SAMPLED - 1, replace=False))]


def compare_ids(name: str, found: Iterable[str], expected: Iterable[str]) -> list[Finding]:
    """A finding where a store's images are not those of its shard in their order."""
    found, expected = [str(image_id) for image_id in found], list(expected)
    if found == expected:
        return []
    counts = Counter(found)
    lists = {
        "lacks": [image_id for image_id in expected if image_id not in counts],
        "has others": [image_id for image_id in counts if image_id not in set(expected)],
        "repeats": [image_id for image_id, count in counts.items() if count > 1],
    }
    told = "; ".join(f"{what} {some(ids)}" for what, ids in lists.items() if ids)
    told = told or "has them in another order"
    return [Finding(name, f"does not hold the images of its shard: {told}; {AGAIN}")]


def compare_columns(name: str, columns: dict[str, np.ndarray], rows: pd.DataFrame) -> list[Finding]:
    """A finding for each column of a store that differs from the index, row by row."""
    findings = []
    for column, found in columns.items():
        expected = rows[column].to_numpy()
        if column in ("latitude", "longitude"):
            same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        else:
            same = found == expected.astype(str)
        if not same.all():
            row = int(np.argmin(same))
            findings.append(
                Finding(
                    name,
                    f"{column} of {some(rows.image_id[~same])} is not that of the index: "
                    f"{found[row]} instead of {expected[row]}; {AGAIN}",
                )
            )
    return findings


def check_strays(run: Run) -> Check:
    """No file below the stages' folders belongs to no shard."""
    known = {shard.name(stage) for shard, _ in run.shards() for stage in STAGES
             if shard.street or stage not in ("segments", "masks")}  # fmt: skip
    count = 0
    for stage in STAGES:
        for path in sorted((run.folder / stage).rglob("*")):
            if path.is_dir() and run.relative(path) not in known:
                continue
            count += 1
            hidden = path.name.startswith(".")  # left by a killed job, see check_leftovers
            if not hidden and run.relative(path) not in known:
                yield Finding(run.relative(path), "belongs to no shard of the index; delete it")
    return f"{count} files in {len(STAGES)} folders"


def check_leftovers(run: Run) -> Check:
    """What killed jobs left behind changes no result, but takes room."""
    count = 0
    for path in sorted(run.folder.rglob(".*")):
        if path.name == SNAKEMAKE:
            continue
        count += 1
        yield Finding(run.relative(path), "was left by a job that was killed; run snakemake again "
                      "to go on, or delete it", warning=True)  # fmt: skip
    for path in sorted((run.folder / "models").glob("*/*/state")):
        count += 1
        yield Finding(run.relative(path), "is of a training that has not ended; run snakemake "
                      "again to go on, or delete it", warning=True)  # fmt: skip
    return f"{count} files of killed jobs"
