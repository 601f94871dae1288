"""The results of a run that never ran: drawn predictions, and the tables that the workflow makes of
them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from geoloc.config import check_config, load_schema
from geoloc.evaluation.answers import answers, near_duplicate_ids, write_json
from geoloc.evaluation.by_country import accuracy_by_country, confusion
from geoloc.evaluation.distances import median_positions
from geoloc.evaluation.evidence import Evidence
from geoloc.evaluation.leakage import leakage_summary
from geoloc.evaluation.metrics import accuracy_by_source, metrics_table
from geoloc.evaluation.predictions import predictions_frame
from geoloc.evaluation.published_distances import compare_distances
from geoloc.evaluation.study import study_titles
from geoloc.evaluation.table1 import compare, table1
from geoloc.matrix import (
    Row,
    answer_settings,
    columns,
    dataset_titles,
    model_titles,
    rows,
    street_test_sets,
)
from geoloc.report.run_record import run_record
from geoloc.report.tables import Run
from tests.conftest import ROOT

SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
COUNTRIES = {"BR": 12, "DE": 30, "FR": 25, "JP": 18, "NA": 6, "SG": 5, "US": 60, "ZA": 9}
PLACES = {"BR": (-15, -50), "DE": (51, 10), "FR": (47, 2), "JP": (36, 138), "NA": (-22, 17),
          "SG": (1.35, 103.8), "US": (40, -95), "ZA": (-29, 25)}  # fmt: skip
HOSTILE = "CNN <b>\"wide\"</b> & 'deep'"
SKILL = {"original": 0.6, "weighted_base": 0.3, "weighted_custom": 0.45, "other": 0.2,
         "im2gps3k": 0.25}  # fmt: skip


def configuration(**changes) -> dict:
    """The study's, with a control and a title that must be escaped."""
    config = load_schema(ROOT / "config/config.yaml")
    check_config(config, SCHEMA)
    config["run"] = "small"
    config["models"]["cnn"]["title"] = HOSTILE
    weighted = config["datasets"]["weighted_custom"]
    config["datasets"]["other"] = weighted | {"title": "Other Image's", "scores_of": "other_image"}
    config |= changes
    check_config(config, SCHEMA)
    return config


def image_table() -> pd.DataFrame:
    """An index: test images of both sources and photos, and training images with places."""
    lines = []
    for code, count in COUNTRIES.items():
        latitude, longitude = PLACES[code]
        for number in range(3 * count):
            split = ("test", "train", "val")[number % 3]
            source = ("geoguessr", "streetview")[number % 5 > 2]
            place = (latitude, longitude) if source == "streetview" else (np.nan, np.nan)
            lines.append((f"{source}/{code}{number}", source, "street", code, "", split, *place))
        for number in range(max(2, count // 3)):
            author = f"author {number % 4}"
            lines.append((f"im2gps3k/{code}{number}", "im2gps3k", "im2gps3k", code, author, "test",
                          latitude, longitude))  # fmt: skip
    names = ["image_id", "source", "collection", "country", "author", "split", "latitude",
             "longitude"]  # fmt: skip
    return pd.DataFrame(lines, columns=names).assign(shard="0000", path="x.jpg")


def drawn(index: pd.DataFrame, config: dict, row: Row) -> pd.DataFrame:
    """Predictions of a row, right with a probability that its training and test set decide."""
    rng = np.random.default_rng([*f"{row.path}".encode()])
    codes, frames = list(COUNTRIES), []
    for test_set in [*street_test_sets(config, row.dataset), "im2gps3k"]:
        collection = "im2gps3k" if test_set == "im2gps3k" else "street"
        part = index[(index.split == "test") & (index.collection == collection)]
        skill = SKILL[test_set] - 0.1 * (row.dataset not in (test_set, "default"))
        noise = rng.random((len(part), len(codes)))
        right = rng.random(len(part)) < skill
        label = part.country.map(codes.index).to_numpy()
        noise[np.arange(len(part)), label] += 2 * right
        frames.append(
            predictions_frame(
                noise / noise.sum(axis=1, keepdims=True), codes, part.image_id, part.source,
                part.country, part.latitude, part.longitude, test_set,
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def write_results(folder: Path, config: dict | None = None, compared: bool = False) -> Run:
    """Write the tables of a run below `folder` and return it as the page sees it."""
    config = config or configuration()
    index = image_table()
    (folder / "index").mkdir(parents=True)
    index.to_parquet(folder / "index/images.parquet")
    predictions = [(*row, drawn(index, config, row)) for row in rows(config)]
    tables = _tables(index, predictions, config)
    files = {name: folder / f"{name}.csv" for name in tables}
    for name, table in tables.items():
        table.to_csv(files[name], index=False)
    files["records"] = folder / "answers.json"
    write_json(files["records"], tables["answers"])
    files["examples/objects"] = folder / "objects.png"
    Image.new("RGB", (1500, 300), "teal").save(files["examples/objects"])
    titles = study_titles(config, SCHEMA)
    own = model_titles(config)
    titles["Model"] = {own[name]: title for name, title in PUBLISHED.items() if name in own}
    if compared:
        files["comparison"] = folder / "table1_comparison.csv"
        compare(tables["table1"], titles).to_csv(files["comparison"], index=False)
    return Run(config, files, _histories(folder, config), _record(folder, config),
               [] if compared else ["index.min_images", "demo"], titles)  # fmt: skip


PUBLISHED = {
    "cnn": "Convolutional Neural Network",
    "transfer": "Transfer Learning",
    "clip": "StreetCLIP",
}


def _tables(index: pd.DataFrame, predictions: list, config: dict) -> dict[str, pd.DataFrame]:
    authors = index.set_index("image_id")["author"].to_dict()
    models, datasets = model_titles(config), dataset_titles(config)
    titled = [(models[m], datasets[d], seed, frame) for m, d, seed, frame in predictions]
    leakage = _leakage(index)
    found = answers(
        Evidence(predictions, **answer_settings(config), majority="US",
                 near_duplicates=near_duplicate_ids(leakage, 6), authors=authors, seed=1)
    )  # fmt: skip
    measured = metrics_table(predictions, "US", median_positions(index), authors, 1)
    return {
        "table1": table1(titled, columns(config)),
        "metrics": measured,
        "by_source": accuracy_by_source(predictions),
        "by_country": accuracy_by_country(predictions),
        "confusion": confusion(predictions),
        "answers": found,
        "leakage": leakage_summary(leakage, 6),
        "distances": compare_distances(measured, models, datasets),
        "quarantine": pd.DataFrame(
            [("geoguessr", "France/<script>alert(1)</script>.jpg", "cannot be decoded")],
            columns=["source", "path", "reason"],
        ),
        "countries": _countries(index),
    }


def _leakage(index: pd.DataFrame) -> pd.DataFrame:
    rest = index[index.split != "train"]
    near = np.arange(len(rest)) % 20 == 0
    return rest[["image_id", "collection", "source", "country", "split"]].assign(
        bits=np.where(near, 2, 20), other_country_bits=24, meters=np.where(near, 10.0, 9000.0)
    )


def _countries(index: pd.DataFrame) -> pd.DataFrame:
    street = index[index.collection == "street"]
    counts = street.groupby(["country", "split"]).size().unstack().reset_index()
    counts["images"] = counts[["train", "val", "test"]].sum(axis=1)
    counts = counts.assign(name=counts.country, kept=True)
    dropped = {"country": "MT", "name": "MT", "images": 3, "train": 2, "val": 0, "test": 1,
               "kept": False}  # fmt: skip
    return pd.concat([counts, pd.DataFrame([dropped])], ignore_index=True)


def _histories(folder: Path, config: dict) -> dict[Row, Path]:
    found = {}
    for row in rows(config, trained=True):
        path = folder / "models" / row.path / "history.csv"
        path.parent.mkdir(parents=True)
        epochs = np.arange(1, 9)
        pd.DataFrame(
            {"epoch": epochs, "accuracy": epochs / 10, "val_accuracy": 0.5 - (epochs - 5) ** 2 / 99,
             "loss": 3 / epochs, "val_loss": 2 / epochs + 0.5}
        ).to_csv(path, index=False)  # fmt: skip
        found[row] = path
    return found


def _record(folder: Path, config: dict) -> dict:
    for name, seconds in {"index": "3.5", "train/cnn/original/42": "7265.0"}.items():
        path = folder / f"benchmarks/{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:01\t254.37\tNA\n")
    log = folder / "logs/train/cnn/original/42.log"
    log.parent.mkdir(parents=True)
    log.write_text(
        "10:00:00 INFO TensorFlow computes on the CPU\n"
        "10:00:00 INFO ran on node7: AMD EPYC, machine of 62.5 GiB\n"
        "10:00:00 INFO packages of /site-packages: keras 3.9.0, tensorflow 2.21.0\n"
    )
    code = {"commit": "0" * 40, "clean": False}
    tables = [folder / "table1.csv"]
    return run_record(folder, config, code, {"geoguessr": "0f"}, ["no/such.pth"], tables, ["demo"])
