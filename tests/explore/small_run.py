"""A finished run as `geoloc explore` reads it, drawn in seconds: street images with a bright square
(a sign) and a dark one (sky), photos of a test set, and answers that are right for every other one.
"""

from __future__ import annotations

import io
from collections.abc import Container, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from geoloc.config import check_config, default_config, load_schema, write_config
from geoloc.evaluation.examples import Naming
from geoloc.evaluation.found import Found, ObjectTable, classes_table, describe
from geoloc.evaluation.predictions import predictions_frame
from geoloc.matrix import rows, street_test_sets
from geoloc.segmentation import rle
from geoloc.segmentation.scoring import score_map
from geoloc.segmentation.vocabularies import class_indices, vocabulary
from geoloc.stores import (
    Explanation,
    write_explanations,
    write_images,
    write_scores,
    write_segments,
)
from geoloc.types import ARRAY_SIZE, BEST_CLASSES, SCORE_SIZE, Segments
from tests.conftest import ROOT

SHARD = 400
SIGN, SKY = class_indices("street sign")[0], class_indices("lakeside")[0]
CLASSES = {"FR": 60, "NA": 60}
SPLITS = ("test", "train", "test", "val")
PLACES = {"FR": (48.0, 2.0), "NA": (-22.0, 17.0)}


def configuration() -> dict:
    """The study's, with datasets of every kind that the page shows."""
    table = {"kind": "coordinates_table", "images": ".", "table": "t.csv", "file_column": "file"}
    config = {
        "run": "small",
        "sources": {"streetview": table | {"path": "street", "crop": "center", "size": SCORE_SIZE}},
        "test_sets": {"im2gps3k": table | {"path": "photos", "title": "Photos"}},
        "models": {"cnn": {"kind": "cnn"}},
    }
    schema = load_schema(ROOT / "config/config.schema.yaml")
    own = {"scores": "objects", "curve": "linear", "train": False}
    config["datasets"] = default_config(schema)["datasets"] | {
        "other": own | {"scores_of": "other_image"},
        "own": own | {"curve": "python", "file": "never_run.py"},
    }
    check_config(config, schema)
    return config


def make_index(countries: Mapping[str, int], photos: int) -> pd.DataFrame:
    """Street images and photos, in shards of `SHARD`."""
    parts = []
    for collection, numbers in (("street", countries), ("im2gps3k", dict.fromkeys(PLACES, photos))):
        for country, count in numbers.items():
            number = np.arange(count)
            name = f"{collection}/{country}/"
            latitude, longitude = PLACES.get(country, (0.0, 0.0))
            parts.append(pd.DataFrame({
                "image_id": [f"{name}{n:05d}.jpg" for n in number],
                "source": "streetview" if collection == "street" else collection,
                "collection": collection,
                "path": [f"{name}{n:05d}.jpg" for n in number],
                "latitude": latitude + number / 1e4,
                "longitude": longitude,
                "country": country,
                "author": "",
                "split": np.array(SPLITS)[number % 4] if collection == "street" else "test",
                "shard": [f"{n // SHARD:04d}" for n in number],
            }))  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def draw(color: int) -> bytes:
    """A gray picture with a bright square."""
    image = Image.new("RGB", (SCORE_SIZE, SCORE_SIZE), (color, 120, 90))
    image.paste((250, 250, 250), (100, 200, 300, 400))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def segments_of(image_id: str) -> Segments:
    """A sign at the bright square, and sky above it."""
    size = (SCORE_SIZE, SCORE_SIZE)
    boxes = [(100, 200, 200, 200), (0, 0, 640, 150)]
    counts = [rle.encode(np.ones((w, h), bool), x, y, size) for x, y, w, h in boxes]
    class_id = np.full((2, BEST_CLASSES), -1, np.int16)
    probability = np.zeros((2, BEST_CLASSES), np.float32)
    class_id[:, 0], probability[:, 0] = (SIGN, SKY), (0.8, 0.6)
    return Segments(
        image_id, size, np.array(boxes, np.int32), np.array([40_000, 96_000], np.int32),
        np.ones(2, np.float32), np.ones(2, np.float32), counts, class_id, probability,
    )  # fmt: skip


def make_stores(
    run: Path, index: pd.DataFrame, pictures: list[bytes], segmented: Container[str]
) -> Iterator[tuple]:
    """Write images, and segments and scores of street images of some countries; yields the stores
    of each shard of these."""
    for (collection, country, shard), part in index.groupby(["collection", "country", "shard"]):
        images = run / f"images/{collection}/{country}/{shard}.h5"
        write_images(images, (
            {name: getattr(row, name)
             for name in ("image_id", "split", "source", "latitude", "longitude")}
            | {"image": pictures[n % len(pictures)]}
            for n, row in enumerate(part.itertuples())
        ))  # fmt: skip
        if collection == "street" and country in segmented:
            segments, scores = (
                run / f"{stage}/{country}/{shard}.h5"
                for stage in ("segments/sam", "scores/objects")
            )
            found = [segments_of(i) for i in part.image_id]
            write_segments(segments, found)
            maps = score_map(found[0], [SIGN])
            write_scores(scores, ((s.image_id, maps) for s in found))
            yield country, images, segments, scores


def make_answers(run: Path, index: pd.DataFrame, config: dict) -> None:
    """Predictions of all rows: right for the first image, wrong for the next, and so on."""
    test = index[index.split == "test"]
    classes = sorted(set(index.country))
    for row in rows(config):
        frames = []
        for name in [*street_test_sets(config, row.dataset), "im2gps3k"]:
            part = test[test.collection == ("im2gps3k" if name == "im2gps3k" else "street")]
            own = part.country.map(classes.index).to_numpy()
            answer = np.where(np.arange(len(part)) % 2 == 0, own, (own + 1) % len(classes))
            probabilities = np.full((len(part), len(classes)), 0.3 / max(len(classes) - 1, 1))
            probabilities[np.arange(len(part)), answer] = 0.7
            columns = (part.image_id, part.source, part.country, part.latitude, part.longitude)
            frames.append(predictions_frame(probabilities, classes, *columns, name))
        path = run / f"predictions/{row.path}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.concat(frames).to_parquet(path, index=False)


def make_run(
    folder: Path, countries: Mapping[str, int] = CLASSES, photos: int = 3
) -> tuple[Path, pd.DataFrame]:
    """Write results/small below a folder; returns its path and the table of images."""
    run, config = folder / "results/small", configuration()
    write_config(run / "config.yaml", config)
    index = make_index(countries, photos)
    (run / "index").mkdir()
    index.to_parquet(run / "index/images.parquet", index=False)
    # One image could not be read.
    excluded = index.iloc[[0]].assign(reason="damaged")[["source", "path", "reason"]]
    excluded.to_csv(run / "quarantine.csv", index=False)
    index = index.iloc[1:]
    found = Found(Naming(vocabulary("imagenet"), np.array([SIGN]), 0.1))
    shards = list(make_stores(run, index, [draw(color) for color in (40, 90, 140)], countries))
    (run / "found/objects").mkdir(parents=True)
    with ObjectTable(run / "found/objects/objects.parquet") as objects:
        describe(shards, found, None, objects.write)
    classes_table(found).to_csv(run / "found/objects/classes.csv", index=False)
    make_answers(run, index, config)
    make_leakage(run, index)
    make_explanations(run, index)
    return run, index


def make_explanations(run: Path, index: pd.DataFrame) -> None:
    """Maps of the first test image by three methods, of which two failed a check each."""
    relevance = np.zeros((ARRAY_SIZE, ARRAY_SIZE), np.float32)
    relevance[:112, :112] = 1 / 112**2
    # Similarity to maps of random weights, error of adding up.
    checks = {
        "grad_cam": (0.1, ""), "integrated_gradients": (0.1, 0.9), "attention_relevance": (0.8, ""),
    }  # fmt: skip
    maps = dict.fromkeys(checks, relevance)
    first = index[index.split == "test"].image_id.iloc[0]
    path = run / "explanations/cnn/original/42.h5"
    write_explanations(path, [Explanation(first, "FR", "NA", maps)])
    rows = [f"cnn,original,42,{name},{error},{similar},"
            for name, (similar, error) in checks.items()]  # fmt: skip
    columns = "completeness_error,similarity_100,similarity_labels"
    lines = [f"model,dataset,seed,method,{columns}", *rows]
    (run / "explanations/faithfulness.csv").write_text("\n".join(lines) + "\n")


def make_leakage(run: Path, index: pd.DataFrame) -> None:
    """The training image that looks most like each image, which is the first one."""
    first = index[index.split == "train"].iloc[0]
    rest = index[index.split != "train"]
    table = rest[["image_id", "collection", "source", "country", "split"]].assign(
        nearest_image=first.image_id, nearest_country=first.country, bits=7, mirrored=False,
        other_country_bits=20, nearest_place=first.image_id, meters=1234.0,
    )  # fmt: skip
    table.to_csv(run / "leakage.csv", index=False)
