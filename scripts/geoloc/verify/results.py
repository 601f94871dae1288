"""Check Table 1 and everything around it by recomputing them from the predictions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from PIL import Image

from geoloc.corpus.spatial_split import EARTH_RADIUS
from geoloc.countries.names import display_name
from geoloc.evaluation.answers import answers, as_records, near_duplicate_ids
from geoloc.evaluation.distances import median_positions
from geoloc.evaluation.evidence import Evidence
from geoloc.evaluation.intervals import authors_of_images
from geoloc.evaluation.leakage import leakage_summary, search_limit
from geoloc.evaluation.metrics import accuracy_by_source, metrics_table, paired_tests
from geoloc.evaluation.published_distances import compare_distances, published_test_sets
from geoloc.evaluation.study import differences
from geoloc.evaluation.table1 import baselines, format_table, table1, table1_seeds
from geoloc.evaluation.verdict import verdict
from geoloc.matrix import (
    answer_settings,
    columns,
    dataset_titles,
    explained_rows,
    model_titles,
    rows,
)
from geoloc.verify.predictions import PREDICTIONS
from geoloc.verify.run import (
    AGAIN,
    Check,
    Finding,
    NotChecked,
    Run,
    compare_text,
    csv_text,
    failure,
    read_table,
    read_text,
    some,
)
from geoloc.verify.shards import PACKED, used_scores_of

BY_AUTHOR = "_by_author"
LEAKAGE = "leakage.csv"


def all_predictions(run: Run) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Return model, dataset, seed and predictions of every row, in configuration order."""
    frames, every = run.need(PREDICTIONS), rows(run.config)
    if missing := [row.path for row in every if row not in frames]:
        raise NotChecked(f"needs the predictions of {', '.join(missing)}, which cannot be read")
    return [(*row, frames[row]) for row in every]


def check_table1(run: Run) -> Check:
    """Check that Table 1, as CSV and as text, matches the predictions."""
    predictions, majority = all_predictions(run), run.need("majority")
    models, datasets = model_titles(run.config), dataset_titles(run.config)
    titled = [(models[m], datasets[d], seed, frame) for m, d, seed, frame in predictions]
    titles = columns(run.config)
    table = table1(titled, titles)
    for name, expected in {"table1": table, "table1_seeds": table1_seeds(titled, titles)}.items():
        found = read_text(run.folder / f"{name}.csv")
        yield from compare_text(f"{name}.csv", found, csv_text(expected), "the predictions")
    baseline = baselines(predictions[0][3], majority)
    text = format_table(table, baseline, display_name(majority), titles)
    found = read_text(run.folder / "table1.txt")
    yield from compare_text("table1.txt", found, text + "\n", "the predictions")
    return f"{len(table)} rows, {table.iloc[:, 2:].ne('').sum().sum()} accuracies"


def check_metrics(run: Run) -> Check:
    """Check metrics.csv, accuracy_by_source.csv and paired_tests.csv against the predictions.

    Intervals over authors are recomputed if all content is read. Otherwise they are only compared
    with the value they must contain.
    """
    predictions, images = all_predictions(run), run.images
    authors = authors_of_images(images) if run.digests else {}
    seed = run.config["seed"]
    positions = median_positions(images)
    tables = {
        "metrics.csv": metrics_table(predictions, run.need("majority"), positions, authors, seed),
        "accuracy_by_source.csv": accuracy_by_source(predictions),
        "paired_tests.csv": paired_tests(predictions, authors, seed),
    }
    for name, expected in tables.items():
        skipped = [] if run.digests else [c for c in expected.columns if c.endswith(BY_AUTHOR)]
        value = "accuracy" if name == "metrics.csv" else "difference"
        try:
            yield from compare_numbers(run, name, expected, skipped, "the predictions")
            if f"{value}_low{BY_AUTHOR}" in expected:
                yield from intervals_hold(run, name, value)
        except (OSError, ValueError) as error:
            yield failure(name, error)
    return f"{sum(map(len, tables.values()))} rows in {len(tables)} tables"


def compare_numbers(
    run: Run,
    name: str,
    expected: pd.DataFrame,
    skipped: Sequence[str],
    source: str,
    tolerance: float = 1e-9,
) -> Iterator[Finding]:
    """Yield a finding for each column of a CSV file that differs from `expected`.

    Text must be equal, numbers within a relative `tolerance`, because libraries differ in the last
    digits. `source` says where the expected values come from.
    """
    found = read_table(run.folder / name, list(expected.columns))
    if len(found) != len(expected):
        yield Finding(name, f"has {len(found)} rows, expected {len(expected)} by {source}; {AGAIN}")
        return
    for column in expected.columns.difference(skipped, sort=False):
        texts, wanted = found[column], expected[column].reset_index(drop=True)
        if pd.api.types.is_numeric_dtype(wanted):
            numbers = pd.to_numeric(texts.replace("", "nan"), errors="coerce").to_numpy(float)
            broken = np.isnan(numbers) & (texts != "").to_numpy()
            same = np.isclose(numbers, wanted.to_numpy(float), tolerance, 0, equal_nan=True)
            same &= ~broken
        else:
            same = (texts == wanted).to_numpy()
        if not same.all():
            row = int(np.argmin(same))
            yield Finding(
                name,
                f"row {row + 2}: {column} is {texts[row]!r}, expected "
                f"{wanted[row]} by {source}; {AGAIN}",
            )


def intervals_hold(run: Run, name: str, value: str) -> Iterator[Finding]:
    """Yield intervals over authors that don't contain their value, or have only one end."""
    table = read_table(run.folder / name)
    columns = [f"{value}_low{BY_AUTHOR}", value, f"{value}_high{BY_AUTHOR}"]
    if missing := [column for column in columns if column not in table]:
        yield Finding(name, f"has no column {', '.join(missing)}; {AGAIN}")
        return
    empty = table[columns].eq("")
    numbers = table[columns].apply(pd.to_numeric, errors="coerce")
    low, middle, high = (numbers[column] for column in columns)
    without = empty[columns[0]] & empty[columns[2]]
    wrong = ~without & ~((low <= middle) & (middle <= high))
    if wrong.any():
        rows = [str(row + 2) for row in np.flatnonzero(wrong)]
        yield Finding(
            name, f"{columns[0]} and {columns[2]} do not hold {value} in rows {some(rows)}; {AGAIN}"
        )


def check_answers(run: Run) -> Check:
    """Check that the answers, as CSV and JSON, and the verdict match the predictions."""
    predictions, images = all_predictions(run), run.images
    leakage = read_table(run.folder / LEAKAGE)
    leakage["bits"] = pd.to_numeric(leakage.bits, errors="coerce")
    table = answers(
        Evidence(
            predictions=predictions,
            **answer_settings(run.config),
            majority=run.need("majority"),
            near_duplicates=near_duplicate_ids(
                leakage, run.config["leakage"]["near_duplicate_bits"]
            ),
            authors=authors_of_images(images),
            seed=run.config["seed"],
        )
    )
    records = as_records(table)
    sentences = verdict(records) + "\n"
    for name, compare in {
        "answers.csv": lambda: compare_numbers(run, "answers.csv", table, [], "the predictions"),
        "answers.json": lambda: compare_records(run, "answers.json", records),
        "verdict.txt": lambda: compare_text(
            "verdict.txt", read_text(run.folder / "verdict.txt"), sentences, "the answers"
        ),
        "published_distances.csv": lambda: compare_published_distances(run),
    }.items():
        try:
            yield from compare()
        except (OSError, ValueError) as error:
            yield failure(name, error)
    return f"{len(table)} answers"


def compare_records(run: Run, name: str, expected: list[dict]) -> Iterator[Finding]:
    """Yield a finding if a JSON file has other records.

    Numbers may differ by 1e-9, because libraries differ in the last digits.
    """
    try:
        found = json.loads(read_text(run.folder / name))
        pairs = [
            (ours[key], theirs[key])
            for ours, theirs in zip(found, expected, strict=True)
            for key in {**ours, **theirs}
        ]
    except (KeyError, TypeError, ValueError) as error:
        yield Finding(name, f"has other records than the predictions give ({error}); {AGAIN}")
        return
    for ours, theirs in pairs:
        numbers = isinstance(ours, int | float) and isinstance(theirs, int | float)
        if not (math.isclose(ours, theirs) if numbers else ours == theirs):
            yield Finding(name, f"has {ours!r}, expected {theirs!r} by the predictions; {AGAIN}")
            return


def compare_published_distances(run: Run) -> Iterator[Finding]:
    """Check that the table next to published distances has the metrics of this run."""
    name = "published_distances.csv"
    sets = {test_set for test_set, entry in run.config["test_sets"].items() if entry}
    if run.config["demo"] or not sets & published_test_sets():
        return
    metrics = pd.read_csv(run.folder / "metrics.csv", keep_default_na=False, na_values=[""])
    titles = model_titles(run.config), dataset_titles(run.config)
    expected = compare_distances(metrics, *titles)
    expected["trained_on"] = expected["trained_on"].fillna("")
    yield from compare_numbers(run, name, expected, [], "metrics.csv")


def check_comparison(run: Run) -> Check:
    """Check that only a run of the study is compared with the published table."""
    name = "table1_comparison.csv"
    exists = (run.folder / name).exists()
    keys = differences(run.config, run.schema)
    if keys and exists:
        yield Finding(
            name,
            f"the configuration is not the study's (it differs in {some(keys)}); delete it",
            warning=True,
        )
    if not keys and not exists:
        yield Finding(name, "is missing; run snakemake again")
    return "made" if exists else "not made, as the configuration is not the study's"


def check_leakage(run: Run) -> Check:
    """Check that each validation and test image was compared with the training images, once."""
    packed = run.need(PACKED)
    rest = packed[packed.split != "train"]
    train = packed[packed.split == "train"].set_index("image_id")
    table = read_table(run.folder / LEAKAGE)
    own = ["image_id", "collection", "source", "country", "split"]
    needed = [
        *own,
        "nearest_image",
        "nearest_country",
        "bits",
        "mirrored",
        "other_country_bits",
        "nearest_place",
        "meters",
    ]
    if missing := [column for column in needed if column not in table]:
        yield Finding(LEAKAGE, f"has no column {', '.join(missing)}; {AGAIN}")
        raise NotChecked("columns are missing")
    expected = csv_text(rest[own])
    yield from compare_text(LEAKAGE, csv_text(table[own]), expected, "the index")
    table[["bits", "other_country_bits", "meters"]] = table[
        ["bits", "other_country_bits", "meters"]
    ].apply(pd.to_numeric, errors="coerce")
    for what, wrong in leakage_mistakes(table, train, packed).items():
        if wrong.any():
            yield Finding(LEAKAGE, f"{what}: {some(table.image_id[wrong])}; {AGAIN}")
    if run.configuration:
        summary = leakage_summary(table, run.config["leakage"]["near_duplicate_bits"])
        name = "leakage_summary.csv"
        yield from compare_numbers(run, name, summary, [], LEAKAGE, 2e-5)  # it has six digits
    return f"{len(table):,} validation and test images"


def leakage_mistakes(
    table: pd.DataFrame, train: pd.DataFrame, packed: pd.DataFrame
) -> dict[str, np.ndarray]:
    """Return the rows of leakage.csv, (n,) bool, with each possible mistake."""
    nearest = train.country.reindex(table.nearest_image)
    own = packed.set_index("image_id").reindex(table.image_id)
    place = train.reindex(table.nearest_place)
    placed = own.latitude.notna().to_numpy() & train.latitude.notna().any()
    meters = great_circle_meters(own, place)
    bits, other = table.bits.to_numpy(), table.other_country_bits.to_numpy()
    # Of millions of images, only near-duplicates are searched for.
    limited = search_limit(len(table), len(train), 0) == 0
    absent = ((table.nearest_image == "") & (table.nearest_country == "")).to_numpy()
    absent &= limited & np.isnan(bits) & np.isnan(other)
    if limited:
        other = np.where(np.isnan(other), 64, other)
    wrong_bits = ~((bits >= 0) & (bits <= other) & (other <= 64))
    wrong_bits |= (table.nearest_country != table.country).to_numpy() & (bits != other)
    wrong_bits &= ~absent
    near = np.isclose(table.meters, meters, rtol=2e-5, atol=0.5)
    return {
        "nearest_image is not a training image": nearest.isna().to_numpy() & ~absent,
        "nearest_country is not that of nearest_image": nearest.notna().to_numpy()
        & (nearest.to_numpy() != table.nearest_country.to_numpy()),
        "bits are not a number of bits": wrong_bits,
        "mirrored is neither True nor False": ~table.mirrored.isin(["True", "False"]).to_numpy(),
        "nearest_place is not a training image with coordinates": placed
        & place.latitude.isna().to_numpy(),
        "nearest_place is given without coordinates": ~placed
        & ((table.nearest_place != "") | table.meters.notna()).to_numpy(),
        "meters are not the distance to nearest_place": placed
        & place.latitude.notna().to_numpy()
        & ~near,
    }


def great_circle_meters(places: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Return the distances in meters, float64 (n,), between places and others, row by row."""
    latitude, longitude = np.radians(places[["latitude", "longitude"]].to_numpy(float).T)
    there, across = np.radians(others[["latitude", "longitude"]].to_numpy(float).T)
    half = np.sin((there - latitude) / 2) ** 2
    half += np.cos(latitude) * np.cos(there) * np.sin((across - longitude) / 2) ** 2
    return 2000 * EARTH_RADIUS * np.arcsin(np.sqrt(half))


def check_figures(run: Run) -> Check:
    """Check that figures are images that can be read to the end."""
    scores = used_scores_of(run)
    figures = [f"score_examples/{name}.png" for name in scores] + ["accuracy.png"]
    figures += [f"found_examples/{name}.jpg" for name in scores]
    if rows(run.config, trained=True):
        figures.append("training_curves.png")
    models = dict.fromkeys(row.model for row in explained_rows(run.config))
    figures += [f"explanations/{name}.png" for name in models]
    for figure in figures:
        name = f"figures/{figure}"
        try:
            with Image.open(run.folder / name, formats=["PNG", "JPEG"]) as image:
                image.load()
        except FileNotFoundError:
            yield Finding(name, "is missing; run snakemake again")
        except Exception as error:
            yield Finding(name, f"is not a readable image ({error}); {AGAIN}")
    return f"{len(figures)} images"
