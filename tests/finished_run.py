"""A finished run in seconds: the functions of all jobs on a drawn world, with models of few weights
that are hardly trained."""

from __future__ import annotations

import dataclasses
import os
from contextlib import ExitStack
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import yaml
from keras import layers
from PIL import Image

from geoloc.config import check_config, load_schema, write_config
from geoloc.corpus.index import build_index, write_index
from geoloc.corpus.index_tables import SHARD_KEYS, kept_classes, majority_country
from geoloc.corpus.pack import pack_images, pack_scores
from geoloc.corpus.prepare import prepare_shard
from geoloc.corpus.quarantine import collect_quarantine, write_quarantine
from geoloc.corpus.sources import configured_sources
from geoloc.countries.names import display_name
from geoloc.evaluation.answers import (
    answers,
    as_records,
    near_duplicate_ids,
    write_json,
)
from geoloc.evaluation.by_country import accuracy_by_country, confusion
from geoloc.evaluation.distances import median_positions
from geoloc.evaluation.evidence import Evidence
from geoloc.evaluation.examples import Naming
from geoloc.evaluation.found import (
    Found,
    classes_table,
    countries_table,
    describe,
    histogram_table,
    visible_table,
)
from geoloc.evaluation.full_size import predict_images, read_full_size
from geoloc.evaluation.intervals import authors_of_images
from geoloc.evaluation.leakage import hash_stores, leakage_summary, leakage_table
from geoloc.evaluation.metrics import accuracy_by_source, metrics_table, paired_tests
from geoloc.evaluation.published_distances import compare_distances
from geoloc.evaluation.table1 import baselines, format_table, table1, table1_seeds
from geoloc.evaluation.verdict import verdict
from geoloc.image_text.training import ClipParameters, train_clip
from geoloc.image_text.zero_shot import ClipZeroShot
from geoloc.keras_models import runtime, training
from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.predict import load_trained, predict
from geoloc.matrix import (
    ROOMS,
    Row,
    answer_settings,
    columns,
    dataset_settings,
    dataset_titles,
    explained_rows,
    model_titles,
    rows,
    street_test_sets,
)
from geoloc.report.page import render
from geoloc.report.run_record import run_record, write_record
from geoloc.report.tables import COLUMNS, Run
from geoloc.segmentation import rle
from geoloc.segmentation.scoring import read_selected, score_map
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.stores import (
    Arrays,
    dataset_arrays,
    open_score_maps,
    read_image_columns,
    read_segments,
    score_key,
    write_list,
    write_scores,
    write_segments,
)
from geoloc.types import BEST_CLASSES, Segments
from geoloc.weighting import UNCHANGED, make_view
from tests.conftest import ROOT
from tests.mutation.server import KEPT_RUN
from tests.script_runs import run_script

COUNTRIES = ("Brazil", "France", "Japan", "Namibia", "United Kingdom", "United States")
PLACES = {"Paris": (48.86, 2.35), "Windhoek": (-22.56, 17.08)}
SIDE = 640
KINDS = ("influence", "changes", "checks")  # of tables of an explained row


def study(folder: Path) -> dict:
    """The configuration of the run in `folder`/results/finished, of the world in `folder`."""
    table = {"kind": "coordinates_table", "images": ".", "table": "t.csv", "file_column": "file"}
    config = {
        "run": "finished",
        "sources": {
            "geoguessr": {"kind": "country_folders", "path": str(folder / "world"), "images": ".",
                          "crop": "center", "size": SIDE},
            "streetview": table | {"path": str(folder / "street"), "crop": "center", "size": SIDE},
        },
        "test_sets": {"im2gps3k": table | {"path": str(folder / "bench"),
                                            "author_column": "author"}},
        "index": {"min_images": 6, "shard_size": 9, "split": [0.5, 0.2, 0.3],
                  "max_rejected": 0.3},
        "prepare": {"max_unreadable": 0.3},
        "train": {"epochs": 2},
        "explain": {"images": 6, "steps": 2, "fills": ["black"], "checked_images": 2, "points": 2},
        "models": {"cnn": {"kind": "cnn"}, "transfer": {"kind": "transfer", "weights": "w.h5"},
                   "clip": {"kind": "clip", "path": None}},
    }  # fmt: skip
    check_config(config, load_schema(ROOT / "config/config.schema.yaml"))
    return config


def draw_world(folder: Path, rng: np.random.Generator) -> None:
    """Photographs of one or two colors; one cannot be read, one row of a table has no place."""

    def draw(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (48, 32), tuple(rng.integers(0, 256, 3).tolist()))
        image.paste(tuple(rng.integers(0, 256, 3).tolist()), (8, 8, 30, 20))
        image.save(path)

    for country in COUNTRIES:
        for number in range(8 if country == "France" else 6):
            draw(folder / "world" / country / f"{number}.jpg")
    draw(folder / "world/Germany/0.jpg")
    (folder / "world/Japan/3.jpg").write_bytes(b"no picture")
    for name, count in {"street": 6, "bench": 6}.items():
        places = [*PLACES.values()] * count
        rows = [f"{n}.png,{places[n][0] + n / 50},{places[n][1]},a{n % 4}" for n in range(count)]
        for number in range(count):
            draw(folder / name / f"{number}.png")
        if name == "street":
            rows[3] = "3.png,95,2,a"
        lines = ["file,latitude,longitude,author", *rows]
        (folder / name / "t.csv").write_text("\n".join(lines) + "\n")


def segments_of(image_id: str, selected: np.ndarray, rng: np.random.Generator) -> Segments:
    """Two overlapping rectangles of selected classes, and one of a class that does not score."""
    counts, boxes = [], []
    for _ in range(3):
        left, top, width, height = (int(n) for n in rng.integers(20, 300, 4))
        window = np.ones((width, height), bool)
        counts.append(rle.encode(window, left, top, (SIDE, SIDE)))
        boxes.append((left, top, width, height))
    class_id = np.stack([rng.permutation(1000)[:BEST_CLASSES] for _ in counts]).astype(np.int16)
    class_id[:2, 0] = rng.choice(selected, 2)
    probability = np.sort(rng.uniform(0.01, 0.09, class_id.shape))[:, ::-1].astype(np.float32)
    probability[:, 0] = rng.uniform(0.2, 0.5, len(counts))
    return Segments(
        image_id=image_id, size=(SIDE, SIDE), bbox=np.array(boxes, np.int32),
        area=np.array([rle.area(runs) for runs in counts], np.int32),
        predicted_iou=rng.random(3, np.float32), stability_score=rng.random(3, np.float32),
        counts=counts, class_id=class_id, class_probability=probability,
    )  # fmt: skip


def write_model(run: Path, row: Row, classes: list[str], config: dict) -> None:
    """What the job train leaves, of a network of one layer."""
    model_name, dataset, seed = row
    pixels = layers.Input((224, 224, 3))
    pooled = layers.Flatten()(layers.AveragePooling2D(56)(layers.Rescaling(1 / 255)(pixels)))
    model = keras.Model(pixels, layers.Dense(len(classes), activation="softmax")(pooled))
    weights = [np.random.default_rng([len(dataset), len(model_name)]).normal(size=(48, 6)) * 0.3]
    model.set_weights([*weights, np.arange(len(classes)) == classes.index("FR")])
    folder = run / "models" / row.path
    folder.mkdir(parents=True)
    best = folder / "best.keras"
    model.save(best)
    augmentation = Augmentation(**config["train"]["augmentation"])
    parameters = training.TrainingParameters(**config["train"] | {"augmentation": augmentation})
    record = {
        "classes": classes, "model": model_name, "dataset": dataset, "seed": int(seed),
        "parameters": dataclasses.asdict(parameters), "model_parameters": {},
        "view": make_view(dataset_settings(config, dataset)).settings(),
    }  # fmt: skip
    history = [
        dict.fromkeys(training.HISTORY_COLUMNS, 0.5) | {"epoch": 1},
        dict.fromkeys(training.HISTORY_COLUMNS, 0.4) | {"epoch": 2},
    ]
    training._write_results(folder, best, record, history)
    best.unlink()


def kept_run() -> Path | None:
    """The run that mutation testing made with the unchanged code; None elsewhere."""
    folder = os.environ.get(KEPT_RUN)
    return Path(folder) if folder else None


def finish(folder: Path) -> Path:
    """Draw a world in `folder` and make all outputs of a run on it; returns the run's folder."""
    rng = np.random.default_rng(7)
    draw_world(folder, rng)
    config = study(folder)
    run = folder / "results/finished"
    (folder / "config").mkdir()
    selected_path = folder / config["scores"]["objects"]["classes"]
    selected_path.write_bytes((ROOT / config["scores"]["objects"]["classes"]).read_bytes())
    write_config(run / "config.yaml", config)
    sources = configured_sources(config)
    settings = config["index"]
    tables = build_index(
        sources, settings["min_images"], settings["shard_size"], config["seed"],
        settings["split"], settings["max_rejected"],
    )  # fmt: skip
    write_index(run / "index", *tables)
    index = pd.read_parquet(run / "index/images.parquet")
    stores = make_stores(run, index, config, read_selected(selected_path), rng)
    make_leakage(run, index, stores, config)
    predictions = make_predictions(run, index, stores, config)
    make_tables(run, index, predictions, config)
    make_found(run, stores, config, selected_path)
    make_explanations(run, stores, config, selected_path)
    for name in ("score_examples/objects.png", "training_curves.png", "accuracy.png",
                 "found_examples/objects.jpg"):  # fmt: skip
        (run / f"figures/{name}").parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(run / f"figures/{name}")
    make_report(run, config)
    return run


def make_stores(
    run: Path, index: pd.DataFrame, config: dict, selected: np.ndarray, rng: np.random.Generator
) -> dict[str, list[Path]]:
    """Images, quarantine, segments, scores and arrays; returns paths by kind, street and others."""
    sources = {source.name: source for source in configured_sources(config)}
    paths: dict[str, list[Path]] = {}
    quarantine = []
    for (collection, country, shard), own_rows in index.groupby(SHARD_KEYS):
        place = f"{collection}/{country}/{shard}"
        images, arrays = run / f"images/{place}.h5", run / f"arrays/images/{place}.h5"
        quarantine.append(run / f"quarantine/{place}.csv")
        own = {name: sources[name] for name in sorted(set(own_rows.source))}
        prepare_shard(run / f"index/shards/{place}.csv", own, images, quarantine[-1])
        if collection == "street":
            segments = run / f"segments/sam/{country}/{shard}.h5"
            scores = run / f"scores/objects/{country}/{shard}.h5"
            ids = read_image_columns(images)["image_id"]
            write_segments(segments, (segments_of(str(i), selected, rng) for i in ids))
            score = config["scores"]["objects"]
            minimum, merge = score["minimum"], score["merge"]
            write_scores(
                scores,
                (
                    (s.image_id, score_map(s, selected, minimum, merge))
                    for s in read_segments(segments)
                ),
                {"selected": selected.tolist(), "minimum": minimum, "merge": merge},
            )
            score_arrays = run / f"arrays/scores/objects/{country}/{shard}.h5"
            pack_scores(scores, score_arrays)
            paths.setdefault("segments", []).append(segments)
            paths.setdefault("scores", []).append(scores)
            paths.setdefault("score arrays", []).append(score_arrays)
        pack_images(images, country, arrays)
        kind = "street" if collection == "street" else "test_sets"
        paths.setdefault(f"{kind} images", []).append(images)
        paths.setdefault(f"{kind} arrays", []).append(arrays)
    for name, listed in {
        "images/street": paths["street images"],
        "arrays/images/street": paths["street arrays"],
        "arrays/scores/objects": paths["score arrays"],
        "segments/sam": paths["segments"],
    }.items():
        (run / f"lists/{name}.csv").parent.mkdir(parents=True, exist_ok=True)
        write_list(run / f"lists/{name}.csv", listed)
    sizes = index.source.value_counts().to_dict()
    limit = config["prepare"]["max_unreadable"]
    rows = collect_quarantine(run / "index/rejected.csv", quarantine, sizes, limit)
    write_quarantine(run / "quarantine.csv", rows)
    return paths


def make_found(run: Path, stores: dict, config: dict, classes: Path) -> None:
    """Tables of what the segmentation found."""
    minimum = config["scores"]["objects"]["minimum"]
    found = Found(Naming(vocabulary("imagenet"), read_selected(classes), minimum))
    paths = [stores[kind] for kind in ("street images", "segments", "scores")]
    describe(
        [(images.parent.name, images, *others) for images, *others in zip(*paths, strict=True)],
        found,
    )
    shown = {name: dataset_settings(config, name) for name in config["datasets"]}
    views = {n: make_view(settings) for n, settings in shown.items() if settings.get("scores")}
    for name, table in {
        "classes": classes_table(found),
        "countries": countries_table(found),
        "visible": visible_table(histogram_table(found), views),
    }.items():
        table.insert(0, "scores", "objects")
        table.to_csv(run / f"found_{name}.csv", index=False)


def make_leakage(run: Path, index: pd.DataFrame, stores: dict, config: dict) -> None:
    hashes = hash_stores(stores["street images"] + stores["test_sets images"])
    table = leakage_table(index, hashes)
    summary = leakage_summary(table, config["leakage"]["near_duplicate_bits"])
    for name, frame in {"leakage": table, "leakage_summary": summary}.items():
        frame.to_csv(run / f"{name}.csv", index=False, float_format="%.6g")


def make_predictions(
    run: Path, index: pd.DataFrame, stores: dict, config: dict
) -> list[tuple[str, str, str, pd.DataFrame]]:
    """Train all models and write what they predict."""
    runtime.setup(config["seed"])
    classes = kept_classes(run / "index/countries.csv")
    street, others = Arrays(stores["street arrays"], "test"), Arrays(stores["test_sets arrays"])
    names = {country: display_name(country) for country in classes}
    train_clip(
        run / f"models/clip/default/{config['seed']}", Arrays(stores["street arrays"], "train"),
        Arrays(stores["street arrays"], "val"), names,
        ClipParameters(image_size=32, hidden_size=32, layers=1, heads=2, text_hidden_size=32,
                       projection_dim=16, epochs=1, warmup=0),
        "default", UNCHANGED, config["seed"],
    )  # fmt: skip
    found = []
    for row in rows(config):
        views = {
            name: make_view(settings)
            for name, settings in street_test_sets(config, row.dataset).items()
        }
        folder = run / "models" / row.path
        if ROOMS[config["models"][row.model]["kind"]] == "keras_models":
            write_model(run, row, classes, config)
            parts = keras_predictions(folder, stores, views, others, classes)
        else:
            parts = clip_predictions(folder, stores, street, others, names, views)
        frame = pd.concat(
            frame_of(probabilities, classes, arrays, test_set)
            for test_set, (probabilities, arrays) in parts.items()
        )
        path = run / f"predictions/{row.path}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, index=False)
        found.append((*row, frame))
    return found


def keras_predictions(
    folder: Path, stores: dict, views: dict, others: Arrays, classes: list[str]
) -> dict[str, tuple[np.ndarray, Arrays]]:
    trained, parts = load_trained(folder, classes), {}
    scores = {"objects": stores["score arrays"]}
    for name, view in views.items():
        arrays = dataset_arrays(stores["street arrays"], scores, view, "test", None, 42)
        parts[name] = (predict(trained, arrays, name, view), arrays)
    return parts | {"im2gps3k": (predict(trained, others, "photographs"), others)}


def frame_of(
    probabilities: np.ndarray, classes: list[str], arrays: Arrays, test_set: str
) -> pd.DataFrame:
    from geoloc.evaluation.predictions import predictions_frame

    columns = (arrays.image_id, arrays.source, arrays.label, arrays.latitude, arrays.longitude)
    return predictions_frame(probabilities, classes, *columns, test_set)


def clip_predictions(
    folder: Path, stores: dict, street: Arrays, others: Arrays, names: dict[str, str], views: dict
) -> dict[str, tuple[np.ndarray, Arrays]]:
    model = ClipZeroShot(folder, list(names.values()))
    scores = {"objects": stores["scores"]}
    keyed = {name: (view, score_key(view)) for name, view in views.items()}
    with ExitStack() as stack:
        images = stores["street images"]
        maps = open_score_maps(stack, images, scores, views.values(), None, 42)
        items = read_full_size(images, set(street.image_id), scores=maps)
        _, answers = predict_images(model, items, keyed, len(names))
    items = read_full_size(stores["test_sets images"], set(others.image_id))
    _, photographs = predict_images(model, items, {"photographs": (UNCHANGED, None)}, len(names))
    parts = {name: (found.probabilities, street) for name, found in answers.items()}
    return parts | {"im2gps3k": (photographs["photographs"].probabilities, others)}


def make_tables(run: Path, index: pd.DataFrame, predictions: list, config: dict) -> None:
    models, datasets = model_titles(config), dataset_titles(config)
    majority = majority_country(run / "index/countries.csv")
    authors, seed = authors_of_images(index), config["seed"]
    titled = [(models[m], datasets[d], seed, frame) for m, d, seed, frame in predictions]
    table = table1(titled, columns(config))
    baseline = baselines(predictions[0][3], majority)
    text = format_table(table, baseline, display_name(majority), columns(config))
    (run / "table1.txt").write_text(text + "\n", encoding="utf-8")
    positions = median_positions(index)
    for name, frame in {
        "table1": table,
        "table1_seeds": table1_seeds(titled, columns(config)),
        "metrics": metrics_table(predictions, majority, positions, authors, seed),
        "accuracy_by_source": accuracy_by_source(predictions),
        "paired_tests": paired_tests(predictions, authors, seed),
        "accuracy_by_country": accuracy_by_country(predictions),
        "confusion": confusion(predictions),
    }.items():
        frame.to_csv(run / f"{name}.csv", index=False)
    make_answers(run, predictions, majority, authors, config)
    metrics = pd.read_csv(run / "metrics.csv", keep_default_na=False, na_values=[""])
    distances = compare_distances(metrics, models, datasets)
    distances.to_csv(run / "published_distances.csv", index=False)


def make_answers(run: Path, predictions: list, majority: str, authors: dict, config: dict) -> None:
    leakage = pd.read_csv(run / "leakage.csv", keep_default_na=False, na_values=[""])
    near = near_duplicate_ids(leakage, config["leakage"]["near_duplicate_bits"])
    settings, seed = answer_settings(config), config["seed"]
    table = answers(Evidence(predictions, **settings, majority=majority, near_duplicates=near,
                             authors=authors, seed=seed))  # fmt: skip
    table.to_csv(run / "answers.csv", index=False)
    write_json(run / "answers.json", table)
    (run / "verdict.txt").write_text(verdict(as_records(table)) + "\n", encoding="utf-8")


def make_report(run: Path, config: dict) -> None:
    names = {
        "by_source": "accuracy_by_source",
        "by_country": "accuracy_by_country",
        "leakage": "leakage_summary",
        "countries": "index/countries",
    }
    files = {name: run / f"{names.get(name, name)}.csv" for name in COLUMNS}
    files = {name: path for name, path in files.items() if path.exists()}
    files["records"] = run / "answers.json"
    tables = [path for path in files.values() if path.parent == run]
    code = {"commit": None, "clean": None}
    record = run_record(run, config, code, {}, [], tables, [])
    write_record(run / "run.json", record)
    histories = {
        row: run / "models" / row.path / "history.csv" for row in rows(config, trained=True)
    }
    page = render(Run(config, files, histories, record), config, run / "index/images.parquet", {})
    (run / "report.html").write_text(page, encoding="utf-8")


def configuration(run: Path) -> dict:
    """The run's configuration, to be changed and written again."""
    return yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))


def make_explanations(run: Path, stores: dict, config: dict, selected: Path) -> None:
    """Run the scripts that explain all rows."""
    every = explained_rows(config)
    arrays = {"street": stores["street arrays"], "scores": stores["score arrays"]}
    full_size = {"street": stores["street images"], "scores": stores["scores"]}
    folder, seed = run / "explanations", config["seed"]
    score = config["scores"]["objects"]
    for row in every:
        model = run / f"models/{row.path}"
        if row.model == "clip":
            own = full_size | {"model": model, "index": run / "index/images.parquet"}
            params = {"prompt": "{country}", "test_set": "original"}
        else:
            own, params = arrays | {"model": model / "model.keras"}, {}
        run_script(
            "explain_clip" if row.model == "clip" else "explain",
            input=own | {
                "selected": selected, "predictions": run / f"predictions/{row.path}.parquet",
                "segments": stores["segments"], "countries": run / "index/countries.csv",
            },
            output={"maps": folder / f"{row.path}.h5"}
            | {kind: folder / f"{row.path}_{kind}.csv" for kind in KINDS},
            params=params | {
                "index_folder": run / "index", "seed": seed, "explain": config["explain"],
                "view": dataset_settings(config, row.dataset), "vocabulary": "imagenet",
                "ambiguous_classes": score["ambiguous_classes"], "minimum": score["minimum"],
            },
            wildcards=row._asdict(),
            threads=1 if row.model == "clip" else 0,
        )  # fmt: skip
    listed = {kind: [folder / f"{row.path}_{kind}.csv" for row in every] for kind in KINDS}
    tables = {name: folder / f"{name}.csv" for name in ("influence", "cause", "faithfulness")}
    params = {"seed": seed, "rows": [list(row) for row in every]}
    run_script("explanations", input=listed, output=tables, params=params)
    for model in dict.fromkeys(row.model for row in every):
        own = [row for row in every if row.model == model]
        run_script(
            "explanation_examples",
            input=arrays | {
                "maps": [folder / f"{row.path}.h5" for row in own],
                "checks": [folder / f"{row.path}_checks.csv" for row in own],
                "faithfulness": tables["faithfulness"],
            },
            output={"figure": run / f"figures/explanations/{model}.png"},
            params={
                "index_folder": run / "index", "seed": seed, "rows": [list(row) for row in own],
                "views": {row.dataset: dataset_settings(config, row.dataset) for row in own},
                "scores": ["objects"] * len(own), "title": model_titles(config)[model],
                "dataset_titles": dataset_titles(config),
            },
        )  # fmt: skip
