"""Check the stores of every shard: exactly the images of its manifest, the same in every stage."""

from __future__ import annotations

import contextlib
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd

from geoloc import matrix
from geoloc.corpus.index_tables import REJECTED_COLUMNS
from geoloc.corpus.quarantine import collect_quarantine
from geoloc.corpus.sources import configured_sources
from geoloc.images import decode, resize_nearest
from geoloc.segmentation.objects import best_object
from geoloc.segmentation.scoring import read_selected, score_map
from geoloc.segmentation.vocabularies import is_vocabulary_file, vocabulary_of
from geoloc.stores import (
    Arrays,
    StoreError,
    check_store,
    config_hash,
    read_boxes,
    read_config,
    read_images,
    read_score_arrays,
    read_scores,
    read_segments,
)
from geoloc.types import ARRAY_SIZE, SCORE_SIZE
from geoloc.verify.index import REJECTED
from geoloc.verify.run import (
    AGAIN,
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
READERS = {"images": read_images, "segments": read_segments, "scores": read_scores}
SAMPLED = 2  # images per shard that are recomputed, unless all content is read
PACKED = "the images that were packed"


def check_quarantine(run: Run) -> Check:
    """Check that each image of a manifest was packed or is in quarantine, and quarantine.csv."""
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
        excluded = list(zip(table.source, table.path, strict=True))
        keys = pd.Series(list(zip(rows.source, rows.path, strict=True)), rows.index, dtype=object)
        yield from _of_the_manifest(name, excluded, keys)
        packed.append(rows[~keys.isin(excluded)])
    run.tables[PACKED] = pd.concat(packed).sort_index() if packed else run.images
    sizes = run.images.source.value_counts().to_dict()
    limit = run.configuration["prepare"]["max_unreadable"] if run.configuration else 1.0
    excluded = len(run.images) - len(run.tables[PACKED])
    if complete:
        rows = collect_quarantine(run.folder / REJECTED, paths, sizes, limit)
        expected = csv_text(pd.DataFrame(rows, columns=REJECTED_COLUMNS))
        found = read_text(run.folder / QUARANTINE)
        source = f"{REJECTED} and the tables below quarantine/"
        yield from compare_text(QUARANTINE, found, expected, source)
    return f"{excluded} of {len(run.images):,} images excluded"


def _of_the_manifest(name: str, excluded: Sequence, keys: pd.Series) -> Iterator[Finding]:
    position = {key: number for number, key in enumerate(keys)}
    if unknown := ["/".join(key) for key in excluded if key not in position]:
        yield Finding(name, f"{some(unknown)} are not images of the shard; {AGAIN}")
    order = [position[key] for key in excluded if key in position]
    if order != sorted(set(order)):
        yield Finding(name, f"images repeat or are not in the manifest's order; {AGAIN}")


def shards_with_packed(run: Run) -> Iterator[tuple[Shard, pd.DataFrame]]:
    """Yield each shard of the index with the rows of the images that its stores must have."""
    packed = run.need(PACKED)
    for shard, rows in run.shards():
        yield shard, packed.loc[rows.index.intersection(packed.index)]


def check_images(run: Run) -> Check:
    """Check that stores of packed images match the index."""
    tasks = [
        (shard.name("images"), shard, rows, run.digests) for shard, rows in shards_with_packed(run)
    ]
    yield from run.map(images_of_shard, tasks)
    if run.configuration:
        yield from _other_preparation(run)
    return f"{len(run.need(PACKED)):,} in {len(tasks)} shards"


def _other_preparation(run: Run) -> Iterator[Finding]:
    """Find shards whose images were cropped or resized otherwise than configured, such as those of
    another run."""
    settings = {source.name: vars(source.preparation) for source in configured_sources(run.config)}
    for shard, rows in run.shards():
        expected = config_hash({name: settings.get(name) for name in sorted(set(rows.source))})
        with contextlib.suppress(OSError, ValueError):  # the check of the shard reports it
            if read_config(shard.path("images"), "images") != expected:
                problem = "was made with another crop or size than the configuration's"
                yield Finding(shard.name("images"), f"{problem}; {AGAIN}")


def images_of_shard(name: str, shard: Shard, rows: pd.DataFrame, digests: bool) -> list[Finding]:
    """Compare the prepared images of a shard with the index."""
    found = check_sample(name, shard, "images", rows, digests)
    columns = {column: found[column] for column in ("split", "source", "latitude", "longitude")}
    findings = compare_ids(name, found["image_id"], rows.image_id)
    return findings or compare_columns(name, columns, rows)


def used_scores_of(run: Run) -> list[str]:
    """Return the names of the score maps that rows of the run are trained or tested on."""
    return matrix.scores_of_run(run.config)


def used_crops_of(run: Run) -> list[str]:
    """Return the names of the score maps whose best object crops the images of the run's rows."""
    shown = [matrix.street_test_sets(run.config, row.dataset) for row in matrix.rows(run.config)]
    return matrix.used_crops(*(settings for views in shown for settings in views.values()))


def used_segmentations(run: Run) -> list[str]:
    """Return the names of the segmentations that these are made from."""
    names = used_scores_of(run) + used_crops_of(run)
    return list(dict.fromkeys(run.config["scores"][name]["segmentation"] for name in names))


def street_shards(run: Run) -> list[tuple[Shard, pd.DataFrame]]:
    """Return the shards of street images, each with its rows of the index."""
    return [(shard, rows) for shard, rows in shards_with_packed(run) if shard.street]


def check_segments(run: Run) -> Check:
    """Check that every street image was segmented once by each segmentation."""
    street, names = street_shards(run), used_segmentations(run)
    tasks = [
        (shard.name(f"segments/{name}"), shard, name, rows, run.digests)
        for name in names
        for shard, rows in street
    ]
    yield from run.map(segments_of_shard, tasks)
    for name in names:
        yield from _other_settings(name, [shard for shard, _ in street])
    return f"{sum(len(rows) for _, rows in street):,} images by {', '.join(names) or 'none'}"


def _other_settings(segmentation: str, shards: list[Shard]) -> Iterator[Finding]:
    """Warn of shards that were segmented with other settings or weights than most."""
    found: dict[str, list[str]] = defaultdict(list)
    for shard in shards:
        with contextlib.suppress(OSError, ValueError):  # reported as a shard of its own
            settings = read_config(shard.path(f"segments/{segmentation}"), "segments")
            found[settings].append(shard.name(f"segments/{segmentation}"))
    for names in sorted(found.values(), key=len, reverse=True)[1:]:
        problem = (
            f"{some(names)}: settings or weights differ from those of most other shards; if you "
            f"did not change them during the run, {AGAIN}"
        )
        yield Finding(names[0], problem, warning=True)


def segments_of_shard(
    name: str, shard: Shard, segmentation: str, rows: pd.DataFrame, digests: bool
) -> list[Finding]:
    """Compare the segments of a shard with the index, and their size with that of score maps."""
    found = check_sample(name, shard, f"segments/{segmentation}", rows, digests)
    if findings := compare_ids(name, found["image_id"], rows.image_id):
        return findings
    other = (found["size"] != SCORE_SIZE).any(axis=1)
    if not other.any():
        return []
    sizes = "×".join(map(str, found["size"][other][0]))
    problem = f"{some(rows.image_id[other])} have segments of {sizes} pixels"
    return [Finding(name, f"{problem}, expected {SCORE_SIZE}×{SCORE_SIZE}; {AGAIN}")]


def check_scores(run: Run) -> Check:
    """Check that score maps match the segments and the run's class lists."""
    street, names = street_shards(run), used_scores_of(run)
    settings = {name: score_settings(run, name) for name in names}
    tasks = [
        (shard.name(f"scores/{name}"), shard, name, rows, settings[name], run.digests)
        for name in names
        for shard, rows in street
    ]
    yield from run.map(scores_of_shard, tasks)
    return f"{sum(len(rows) for _, rows in street):,} images for {', '.join(names) or 'none'}"


def score_settings(run: Run, name: str) -> dict:
    """Return the settings of the job `score`, as its stores record them, and the segmentation."""
    entry = run.config["scores"][name]
    vocabulary = vocabulary_of(run.config["segmentations"][entry["segmentation"]])
    if is_vocabulary_file(vocabulary):
        vocabulary = str(run.base / vocabulary)
    path = run.base / entry["classes"]
    selected = read_selected(path, entry["ambiguous_classes"], vocabulary).tolist()
    return {
        "selected": selected,
        "minimum": entry["minimum"],
        "merge": entry["merge"],
        "segmentation": entry["segmentation"],
    }


def scores_of_shard(
    name: str, shard: Shard, scores_name: str, rows: pd.DataFrame, settings: dict, digests: bool
) -> list[Finding]:
    """Check the settings of a shard's score maps, and compute a sample again from its segments."""
    found = check_sample(name, shard, f"scores/{scores_name}", rows, digests)
    if findings := compare_ids(name, found["image_id"], rows.image_id):
        return findings
    stage = f"segments/{settings['segmentation']}"
    settings = {key: value for key, value in settings.items() if key != "segmentation"}
    path = shard.path(f"scores/{scores_name}")
    chosen = set(sample(name, rows.image_id, digests))
    scores = dict(read_scores(path, chosen))
    if read_config(path, "scores") != config_hash(settings):
        return [
            Finding(
                name,
                "was made with another class list, minimum or merge than the run's "
                f"configuration has; {AGAIN}",
            )
        ]
    arguments = settings["selected"], settings["minimum"], settings["merge"]
    other = []
    with contextlib.suppress(StoreError):  # the check of segments reports it
        for segments in read_segments(shard.path(stage), chosen):
            if not np.array_equal(scores[segments.image_id], score_map(segments, *arguments)):
                other.append(segments.image_id)
    if not other:
        return []
    problem = f"the score maps of {some(other)} are not those of {shard.name(stage)}"
    return [Finding(name, f"{problem}; {AGAIN}")]


def check_arrays(run: Run) -> Check:
    """Check that arrays match the packed images, the labels of the index, and the score maps."""
    shards, names = list(shards_with_packed(run)), used_scores_of(run)
    tasks = [(s.name("arrays/images"), s, rows, run.digests) for s, rows in shards]
    yield from run.map(arrays_of_shard, tasks)
    tasks = [
        (shard.name(f"arrays/scores/{name}"), shard, name, rows, run.digests)
        for name in names
        for shard, rows in shards
        if shard.street
    ]
    yield from run.map(score_arrays_of_shard, tasks)
    tasks = [
        (
            shard.name(f"arrays/crops/{name}"),
            shard,
            name,
            rows,
            score_settings(run, name),
            run.digests,
        )
        for name in used_crops_of(run)
        for shard, rows in shards
        if shard.street
    ]
    yield from run.map(crops_of_shard, tasks)
    return f"{len(run.need(PACKED)):,} images, with {', '.join(names) or 'no score maps'}"


def arrays_of_shard(name: str, shard: Shard, rows: pd.DataFrame, digests: bool) -> list[Finding]:
    """Compare packed images of a shard with the index, and a sample with the prepared images."""
    arrays = Arrays([shard.path("arrays/images")])
    if findings := compare_ids(name, arrays.image_id, rows.image_id):
        return findings
    columns = {
        column: getattr(arrays, column)
        for column in ("label", "split", "source", "latitude", "longitude")
    }
    findings = compare_columns(name, columns, rows.assign(label=rows.country))
    chosen = sample(name, rows.image_id, digests)
    position = {image_id: row for row, image_id in enumerate(arrays.image_id)}
    found, _ = arrays.read(np.array([position[image_id] for image_id in chosen], int))
    other = 0
    with contextlib.suppress(StoreError):  # the check of images reports it
        for row, (_, data) in enumerate(read_images(shard.path("images"), image_ids=set(chosen))):
            other += not np.array_equal(found[row], resize_nearest(decode(data), ARRAY_SIZE))
    return findings + _differing(name, "pixels", shard.name("images"), other, len(chosen))


def score_arrays_of_shard(
    name: str, shard: Shard, scores_name: str, rows: pd.DataFrame, digests: bool
) -> list[Finding]:
    """Compare packed score maps of a shard with the index, and a sample with the score maps."""
    path = shard.path(f"arrays/scores/{scores_name}")
    ids = check_store(path, "score_arrays", digests)["image_id"].tolist()
    if findings := compare_ids(name, ids, rows.image_id):
        return findings
    source = f"scores/{scores_name}"
    chosen, other = set(sample(name, rows.image_id, digests)), 0
    found = dict(read_score_arrays(path, chosen))
    with contextlib.suppress(StoreError):  # the check of scores reports it
        for image_id, score in read_scores(shard.path(source), chosen):
            other += not np.array_equal(found[image_id], resize_nearest(score, ARRAY_SIZE))
    return _differing(name, "scores", shard.name(source), other, len(chosen))


def crops_of_shard(
    name: str, shard: Shard, scores_name: str, rows: pd.DataFrame, settings: dict, digests: bool
) -> list[Finding]:
    """Cut a sample of the crops of a shard again from its images and segments."""
    path = shard.path(f"arrays/crops/{scores_name}")
    arrays, boxes = Arrays([path]), read_boxes([path.with_suffix(".csv")])
    if findings := compare_ids(name, arrays.image_id, rows.image_id):
        return findings
    if findings := compare_ids(f"{name[:-3]}.csv", boxes, rows.image_id):
        return findings
    chosen, stage = (
        set(sample(name, rows.image_id, digests)),
        f"segments/{settings['segmentation']}",
    )
    position = {image_id: row for row, image_id in enumerate(arrays.image_id)}
    other = 0
    with contextlib.suppress(StoreError):  # the checks of images and segments report it
        images = dict(read_images(shard.path("images"), image_ids=chosen))
        for each in read_segments(shard.path(stage), chosen):
            box = best_object(each, settings["selected"], settings["minimum"])
            image = decode(images[each.image_id])
            wanted = resize_nearest(box.crop(image) if box else image, ARRAY_SIZE)
            found, _ = arrays.read(np.array([position[each.image_id]]))
            other += box != boxes[each.image_id] or not np.array_equal(found[0], wanted)
    return _differing(name, "crops", shard.name(stage), other, len(chosen))


def _differing(name: str, what: str, source: str, count: int, of: int) -> list[Finding]:
    problem = f"{what} are not those of {source} in {count} of {of} images; {AGAIN}"
    return [Finding(name, problem)] if count else []


def check_sample(
    name: str, shard: Shard, stage: str, rows: pd.DataFrame, digests: bool
) -> dict[str, np.ndarray]:
    """Check a store by reading sampled rows or all; return its index columns."""
    path, schema = shard.path(stage), stage.partition("/")[0]
    found = check_store(path, schema, digests)
    if not digests:
        for _ in READERS[schema](path, image_ids=set(sample(name, rows.image_id, False))):
            pass
    return found


def sample(name: str, image_ids: pd.Series, everything: bool) -> list[str]:
    """Return the ids of the images of a shard that are recomputed.

    They are the first, and others that the shard's name determines, always the same.
    """
    ids = list(image_ids)
    if everything or len(ids) <= SAMPLED:
        return ids
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    others = 1 + rng.choice(len(ids) - 1, SAMPLED - 1, replace=False)
    return [ids[row] for row in [0, *sorted(others)]]


def compare_ids(name: str, found: Iterable[str], expected: Iterable[str]) -> list[Finding]:
    """Return a finding if a store's images differ from those of its shard, or their order does."""
    found, expected = [str(image_id) for image_id in found], list(expected)
    if found == expected:
        return []
    counts = Counter(found)
    lists = {
        "is missing": [image_id for image_id in expected if image_id not in counts],
        "has others": [image_id for image_id in counts if image_id not in set(expected)],
        "repeats": [image_id for image_id, count in counts.items() if count > 1],
    }
    told = "; ".join(f"{what} {some(ids)}" for what, ids in lists.items() if ids)
    told = told or "has them in another order"
    return [Finding(name, f"does not hold the images of its shard: {told}; {AGAIN}")]


def compare_columns(name: str, columns: dict[str, np.ndarray], rows: pd.DataFrame) -> list[Finding]:
    """Return a finding for each column of a store that differs from the index, row by row."""
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
