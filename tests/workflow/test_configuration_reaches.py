"""Each key of the configuration reaches the place where it acts.

The rules are planned with the study's values and with other ones for every key, and each key's
value must stand where the job of its rule finds it. What scripts do with it is in test_scripts.py.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from snakemake.exceptions import WorkflowError

from geoloc.config import load_schema
from geoloc.corpus.index import build_index, write_index
from geoloc.corpus.sources import configured_sources
from tests.conftest import ROOT
from tests.planning import planned, value_at
from tests.tiny_study import tiny_study
from tests.workflow.test_workflow import make_workdir

SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
WEIGHTS = "resources/weights"
EXPLAIN = ("explain", "explain_clip")
# key: (another value than the study's, the places where it then stands)
WORKFLOW: dict[str, tuple[Any, list[str]]] = {
    "seed": (
        7,
        ["index.params.seed", "train.params.seed", "predict.params.seed", "metrics.params.seed",
         "score_examples.params.seed", "train_clip.params.seed", "explain.params.seed",
         "explain_clip.params.seed", "explanations.params.seed",
         "explanation_examples.params.seed"],
    ),
    "index.min_images": (11, ["index.params.min_images"]),
    "index.split": ([0.6, 0.2, 0.2], ["index.params.split"]),
    "index.place_km": (9, ["index.params.place_km"]),
    "index.shard_size": (4, ["index.params.shard_size"]),
    "index.max_rejected": (0.5, ["index.params.max_rejected"]),
    "index.geocoder": (
        "country_polygon",
        [f"{rule}.params.geocoder"
         for rule in ("index", "train_cells", "predict_geoclip", "predict_python")],
    ),
    "prepare.max_unreadable": (0.4, ["collect_quarantine.params.max_unreadable"]),
    "prepare.max_megapixels": (40, ["prepare.params.max_megapixels"]),
    "leakage.near_duplicate_bits": (
        3, ["check_leakage.params.near_duplicate_bits", "answers.params.near_duplicate_bits"]),
    "segmentations.sam.model": ("vit_b", ["segment.params.segmentation.model"]),
    "segmentations.sam.classifier.kind": (
        "efficientnet_lite0", ["segment.params.segmentation.classifier.kind"],
    ),
    "segmentations.sam.points_per_side": (
        3, ["segment.params.segmentation.points_per_side"],
    ),
    "segmentations.sam.pred_iou_thresh": (
        0.1, ["segment.params.segmentation.pred_iou_thresh"],
    ),
    "segmentations.sam.stability_score_thresh": (
        0.2, ["segment.params.segmentation.stability_score_thresh"],
    ),
    "segmentations.sam.stability_score_offset": (
        0.3, ["segment.params.segmentation.stability_score_offset"],
    ),
    "segmentations.sam.box_nms_thresh": (
        0.4, ["segment.params.segmentation.box_nms_thresh"],
    ),
    "segmentations.sam.crop_n_layers": (
        1, ["segment.params.segmentation.crop_n_layers"],
    ),
    "segmentations.sam.crop_nms_thresh": (
        0.5, ["segment.params.segmentation.crop_nms_thresh"],
    ),
    "segmentations.sam.crop_overlap_ratio": (
        0.6, ["segment.params.segmentation.crop_overlap_ratio"],
    ),
    "segmentations.sam.crop_n_points_downscale_factor": (
        2, ["segment.params.segmentation.crop_n_points_downscale_factor"],
    ),
    "segmentations.sam.min_mask_region_area": (
        8, ["segment.params.segmentation.min_mask_region_area"],
    ),
    "segmentations.sam.precision": (
        "bfloat16", ["segment.params.segmentation.precision"],
    ),
    "segmentations.sam.engine.points_per_batch": (11, ["segment.params.engine.points_per_batch"]),
    "segmentations.sam.engine.image_batch": (12, ["segment.params.engine.image_batch"]),
    "segmentations.sam.engine.crop_batch": (13, ["segment.params.engine.crop_batch"]),
    "segmentations.sam.engine.compile": (True, ["segment.params.engine.compile"]),
    "scores.objects.ambiguous_classes": (
        "every_meaning",
        [f"{rule}.params.ambiguous_classes" for rule in ("score", "explain", "explain_clip")],
    ),
    "scores.objects.minimum": (0.3, [
        f"{rule}.params.minimum" for rule in ("score", "explain", "explain_clip")
    ]),
    "scores.objects.merge": ("as_published", ["score.params.merge"]),
    "allow_cpu": (True, [
        f"{rule}.params.allow_cpu" for rule in (
            "segment", "train", "train_clip", "predict", "predict_clip", "explain",
            "explain_clip",
        )
    ]),
    "train.batch_size": (16, ["train.params.train.batch_size", "predict.params.batch_size"]),
    "train.epochs": (2, ["train.params.train.epochs"]),
    "train.learning_rate": (0.1, ["train.params.train.learning_rate"]),
    "train.early_stopping_patience": (4, ["train.params.train.early_stopping_patience"]),
    "train.plateau_patience": (6, ["train.params.train.plateau_patience"]),
    "train.plateau_factor": (0.9, ["train.params.train.plateau_factor"]),
    "train.minimum_learning_rate": (0.01, ["train.params.train.minimum_learning_rate"]),
    "train.precise_batch_norm": (14, ["train.params.train.precise_batch_norm"]),
    "train.class_weights": ("balanced", ["train.params.train.class_weights"]),
    "train.precision": ("mixed_bfloat16", ["train.params.train.precision"]),
    "train.gpus": (2, ["train.params.train.gpus", "train.resources.gpu"]),
    "train.augmentation.shear_range": (5, ["train.params.train.augmentation.shear_range"]),
    "train.augmentation.zoom_range": (0.7, ["train.params.train.augmentation.zoom_range"]),
    "train.augmentation.horizontal_flip": (
        False, ["train.params.train.augmentation.horizontal_flip"],
    ),
    "models.cnn.title": ("Network", [
        "table1.params.model_titles.cnn", "accuracy_figure.params.model_titles.cnn",
    ]),
    "models.transfer.title": ("Head", ["table1.params.model_titles.transfer"]),
    "models.transfer.backbone": ("efficientnet_lite0", ["train[transfer].params.model.backbone"]),
    "models.transfer.preprocessing": ("imagenet", ["train[transfer].params.model.preprocessing"]),
    "models.transfer.fine_tune": ("last_block", ["train[transfer].params.model.fine_tune"]),
    "models.clip.title": ("Given", ["table1.params.model_titles.clip"]),
    "models.clip.prompt": ("in {country}", [
        "predict_clip[clip].params.prompt", "explain_clip[clip].params.prompt",
    ]),
    "models.clip.batch_size": (5, ["predict_clip[clip].params.batch_size"]),
    "models.contrastive.title": ("Scratch", ["table1.params.model_titles.contrastive"]),
    "models.contrastive.prompt": ("at {country}", ["predict_clip[contrastive].params.prompt"]),
    "models.contrastive.epochs": (3, ["train_clip.params.model.epochs"]),
    "models.contrastive.batch_size": (6, ["train_clip.params.model.batch_size"]),
    "models.contrastive.learning_rate": (0.2, ["train_clip.params.model.learning_rate"]),
    "models.contrastive.image_size": (64, ["train_clip.params.model.image_size"]),
    "models.cells.title": ("Cells", ["table1.params.model_titles.cells"]),
    "models.cells.network": ("transfer", ["train_cells.params.model.network"]),
    "models.cells.backbone": ("efficientnet_lite0", ["train_cells.params.model.backbone"]),
    "models.cells.preprocessing": ("imagenet", ["train_cells.params.model.preprocessing"]),
    "models.cells.fine_tune": ("last_block", ["train_cells.params.model.fine_tune"]),
    "models.cells.maximum_images": (70, ["train_cells.params.model.maximum_images"]),
    "models.cells.minimum_images": (7, ["train_cells.params.model.minimum_images"]),
    "models.cells.centroids": (True, ["train_cells.params.model.centroids"]),
    "models.geoclip.title": ("Gallery", ["table1.params.model_titles.geoclip"]),
    "models.geoclip.batch_size": (8, ["predict_geoclip.params.batch_size"]),
    "models.python.title": ("Own", ["table1.params.model_titles.python"]),
    "models.python.options": ({"depth": 3}, ["predict_python.params.options"]),
    "models.python.batch_size": (9, ["predict_python.params.batch_size"]),
    "models.keras.title": ("Own Network", ["table1.params.model_titles.keras"]),
    "models.keras.options": ({"width": 3}, ["train[keras].params.model.options"]),
    "datasets.weighted_custom.title": ("Dimmed", ["table1.params.dataset_titles.weighted_custom"]),
    "explain.images": (21, [f"{rule}.params.explain.images" for rule in EXPLAIN]),
    "explain.steps": (22, ["explain.params.explain.steps"]),
    "explain.baseline": ("blur", ["explain.params.explain.baseline"]),
    "explain.fills": (["mean"], [f"{rule}.params.explain.fills" for rule in EXPLAIN]),
    "explain.checked_images": (23, [f"{rule}.params.explain.checked_images" for rule in EXPLAIN]),
    "explain.points": (24, [f"{rule}.params.explain.points" for rule in EXPLAIN]),
    "explain.random_labels": (
        True, [f"{rule}.params.explain.random_labels" for rule in EXPLAIN],
    ),
    "threads.segment": (17, ["segment.threads"]),
    "threads.check_leakage": (18, ["check_leakage.threads"]),
    "threads.train": (19, ["train.threads", "train_clip.threads"]),
    "threads.predict": (20, ["predict.threads", "predict_clip.threads"]),
    "containers.geo": ("g.sif", ["index.container_img_url", "score.container_img_url"]),
    "containers.torch": ("t.sif", ["segment.container_img_url"]),
    "containers.tensorflow": ("k.sif", ["train.container_img_url", "predict.container_img_url"]),
}  # fmt: skip
for _key, _value in {"no_score_factor": 0.5, "minimum_factor": 0.6, "maximum_factor": 0.7,
                     "lower_score": 20, "upper_score": 30, "invert": True, "fill": "mean",
                     "scores_of": "other_image"}.items():  # fmt: skip
    WORKFLOW[f"datasets.weighted_custom.{_key}"] = (
        _value,
        [f"{rule}[weighted_custom].params.view.{_key}" for rule in ("train", "train_clip")]
        + [f"{rule}.params.views.weighted_custom.{_key}" for rule in ("predict", "predict_clip")],
    )
# Files that a job reads: they stand among its inputs.
FILES = {
    "scores.objects.classes": (
        "classes.txt",
        ["score.input", "explain.input", "explain_clip.input"],
    ),
    "segmentations.sam.weights": (f"{WEIGHTS}/sam_vit_b_01ec64.pth", ["segment.input"]),
    "segmentations.sam.classifier.weights": (f"{WEIGHTS}/sam_vit_l_0b3195.pth", ["segment.input"]),
    "models.transfer.weights": (
        f"{WEIGHTS}/efficientnet_lite0.safetensors",
        ["train[transfer].input"],
    ),
    "models.clip.path": ("given", ["predict_clip[clip].input", "explain_clip[clip].input"]),
    "models.cells.weights": (
        f"{WEIGHTS}/efficientnet_lite0.safetensors",
        ["train_cells.input"],
    ),
    "models.geoclip.path": ("backbone", ["predict_geoclip.input"]),
    "models.geoclip.gallery": ("places.csv", ["predict_geoclip.input"]),
    "models.python.file": ("other.py", ["predict_python.input"]),
    "models.keras.file": ("other.py", ["train[keras].input", "predict[keras].input"]),
}
DATASETS = ["original", "weighted_base", "weighted_custom"]
# Kinds of segmentations that the study does not use: an entry of each, and other values.
FURTHER_ENTRIES = {
    "segmentations.sam2.kind": "sam2", "segmentations.sam2.path": "elsewhere",
    "segmentations.sam2.classifier.kind": "resnet50",
    "segmentations.semantic.kind": "semantic", "segmentations.semantic.path": "elsewhere",
    "segmentations.semantic.vocabulary": "cityscapes", "scores.sam2.segmentation": "sam2",
    "scores.semantic.segmentation": "semantic", "scores.semantic.classes": "fifth.txt",
    "datasets.sam2.scores": "sam2", "datasets.sam2.curve": "linear",
    "datasets.semantic.scores": "semantic", "datasets.semantic.curve": "linear",
    "segmentations.python.kind": "python", "segmentations.python.file": "own.py",
    "segmentations.python.classes": "classes.txt", "scores.python.segmentation": "python",
    "scores.python.classes": "classes.txt", "datasets.python.scores": "python",
    "datasets.python.curve": "linear",
    "datasets.python_crops.scores": "python", "datasets.python_crops.view": "object",
}  # fmt: skip
FURTHER: dict[str, tuple[Any, list[str]]] = {
    key.replace(".sam.", ".sam2."): (value, [x.replace("segment.", "segment[sam2].") for x in at])
    for key, (value, at) in WORKFLOW.items()
    if key.startswith("segmentations.sam.") and not key.endswith(".model")
} | {
    "segmentations.sam2.classifier.weights": ("classes.txt", [
        "segment[sam2].params.segmentation.classifier.weights",
    ]),
    "segmentations.sam2.path": ("given", ["segment[sam2].params.segmentation.path"]),
    "segmentations.semantic.path": ("given", ["segment[semantic].params.segmentation.path"]),
    "segmentations.semantic.vocabulary": ("mapillary_vistas", [
        "segment[semantic].params.segmentation.vocabulary", "score[semantic].params.vocabulary",
    ]),
    "segmentations.semantic.image_size": (
        320, ["segment[semantic].params.segmentation.image_size"],
    ),
    "segmentations.semantic.min_mask_region_area": (
        9, ["segment[semantic].params.segmentation.min_mask_region_area"],
    ),
    "segmentations.semantic.precision": (
        "float16", ["segment[semantic].params.segmentation.precision"],
    ),
    "segmentations.semantic.engine.image_batch": (
        2, ["segment[semantic].params.engine.image_batch"],
    ),
    "segmentations.python.file": ("other.py", ["segment[python].params.segmentation.file"]),
    "segmentations.python.classes": ("others.txt", [
        "segment[python].params.segmentation.classes", "score[python].params.vocabulary",
        "pack_crops[python].params.vocabulary",
    ]),
    "segmentations.python.options": ({"depth": 4}, [
        "segment[python].params.segmentation.options",
    ]),
    "segmentations.python.engine.image_batch": (
        5, ["segment[python].params.engine.image_batch"],
    ),
    "segmentations.semantic.engine.compile": (True, ["segment[semantic].params.engine.compile"]),
}  # fmt: skip
# Keys of a source, and of a test set that is of the same kind.
SOURCE: dict[str, tuple[Any, list[str]]] = {
    key: (value, [f"index.params.{{collection}}.other.{key}"])
    for key, value in {
        "kind": "metadata_table", "path": "elsewhere", "images": "pictures", "table": "m.csv",
        "file_column": "file", "id_column": "key", "latitude_column": "north",
        "longitude_column": "east", "author_column": "who", "subset": True,
        "first_image": 1, "file": "own.py", "options": {"depth": 2},
    }.items()
}  # fmt: skip
RETRIEVE = {
    "kaggle": "owner/name",
    "archive": "a.zip",
    "table_url": "https://example.org/t.csv",
    "page": "https://example.org",
    "gigabytes": 3,
}
# Tested below, each by itself.
OTHERS = {
    "run", "index.split_by", "source.title", "source.crop", "source.size",
    "demo.images_per_country", "demo.test_set_images", "demo.countries", "demo.informative",
    "demo.difficulty", "seeds", "scores.objects.segmentation",
    "datasets.weighted_custom.scores", "datasets.weighted_custom.curve",
    "datasets.weighted_custom.view", "datasets.weighted_custom.train",
    "datasets.weighted_custom.column", "datasets.weighted_custom.file",
    "datasets.weighted_custom.options",
    "models.cnn.datasets", "models.transfer.datasets", "models.contrastive.datasets",
    "models.cells.datasets", "models.keras.datasets",
}  # fmt: skip


ENTRIES = {"scores": "objects", "dataset": "weighted_custom"}  # of sections without kinds


def leaves(schema: dict, prefix: str = "") -> set[str]:
    """All keys of the schema: of sources and test sets as `source.…`, of each kind as of an entry
    with its name."""
    found: set[str] = set()
    for key, entry in schema["properties"].items():
        name = entry.get("additionalProperties", entry) if isinstance(entry, dict) else {}
        options = [name, *name.get("anyOf", [])] if isinstance(name, dict) else []
        ref = next((o["$ref"].rpartition("/")[2] for o in options if "$ref" in o), None)
        if ref == "source":
            found |= leaves(SCHEMA["$defs"]["source"], "source.")
        elif ref in ENTRIES:
            found |= leaves(SCHEMA["$defs"][ref], f"{key}.{ENTRIES[ref]}.")
        elif ref == "classifier":
            found |= {f"{prefix}{key}.kind", f"{prefix}{key}.weights"}
        elif ref:
            for kind, part in SCHEMA["$defs"][ref]["kinds"].items():
                found |= leaves(part, f"{key}.{kind}.") - {f"{key}.{kind}.kind"}
        elif "properties" in entry:
            found |= leaves(entry, f"{prefix}{key}.")
        else:
            found.add(prefix + key)
    return found


def nested(values: dict[str, Any]) -> dict:
    """{"a.b": 1} as {"a": {"b": 1}}."""
    result: dict = {}
    for key, value in values.items():
        *parents, last = key.split(".")
        entry = result
        for parent in parents:
            entry = entry.setdefault(parent, {})
        entry[last] = value
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkout with an index of two countries, so that all jobs are known."""
    folder = make_workdir(tmp_path_factory.mktemp("reaches"))
    for country in ("France", "Namibia"):
        (folder / "world" / country).mkdir(parents=True)
        for number in range(6):
            Image.new("RGB", (8, 8)).save(folder / "world" / country / f"{number}.jpg")
    (folder / "bench").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "bench/0.jpg")
    (folder / "bench/t.csv").write_text("file,latitude,longitude\n0.jpg,48.8,2.3\n")
    for name in ("given", "elsewhere", "backbone"):
        (folder / name).mkdir()
    for name in ("own.py", "other.py", "places.csv"):
        (folder / name).touch()
    for name in ("classes.txt", "others.txt"):
        (folder / name).write_text("street sign\n")
    (folder / "fifth.txt").write_text("5\n")
    config = tiny_study("reaches")
    entry = {"kind": "country_folders", **config["sources"]["geoguessr"]}
    test_set = {"kind": "coordinates_table", **config["test_sets"]["im2gps3k"]}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        sources = configured_sources(
            {"sources": {"geoguessr": entry}, "test_sets": {"im2gps3k": test_set}}
        )
        tables = build_index(sources, 5, 100, 42, (0.6, 0.2, 0.2), 0)
        write_index(folder / "results/reaches/index", *tables)
    return folder


@pytest.fixture(scope="module")
def jobs(folder):
    """The jobs of a configuration in that folder."""

    def plan(values: dict[str, Any], **changes) -> dict:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            config = tiny_study("reaches")
            for section, entry in nested(values).items():
                config[section] = entry
            for name in config.get("models", {}):
                config["models"][name].setdefault("kind", name)
            for section, entries in changes.items():
                config[section] = config.get(section, {}) | entries
            return planned(folder, config)

    return plan


@pytest.fixture(scope="module")
def changed(jobs) -> dict:
    """The jobs where every key has another value."""
    values = {key: value for key, (value, _) in (WORKFLOW | FILES).items()}
    return jobs(values | {"index.split_by": "place"})


@pytest.fixture(scope="module")
def default(jobs) -> dict:
    """The jobs with the study's values, and an entry of each kind that the study does not have."""
    kinds = {f"models.{kind}.kind": kind for kind in ("contrastive", "cells", "geoclip")}
    objects = {"datasets.objects.view": "object", "datasets.objects.scores": "objects"}
    own = {f"models.{kind}.file": "own.py" for kind in ("python", "keras")}
    trained = {f"models.{kind}.datasets": DATASETS for kind in ("contrastive", "cells", "keras")}
    return jobs(kinds | own | trained | objects)


def test_every_key_of_the_schema_is_tested():
    own = {f"source.{key}" for key in SOURCE} | {f"source.retrieve.{key}" for key in RETRIEVE}
    assert leaves(SCHEMA) == {*WORKFLOW, *FILES, *FURTHER, *own, *OTHERS}


def test_check_leakage_asks_for_the_memory_of_its_images(folder, jobs, default):
    decoding = 2000 + 17 * 150
    assert value_at(default, "check_leakage.resources.mem_mb") == decoding
    table = next(folder.glob("results/*/index/shards.csv"))
    content = table.read_text()
    try:
        assert "im2gps3k,FR,0000,1," in content
        table.write_text(content.replace("im2gps3k,FR,0000,1,", "im2gps3k,FR,0000,5100000,"))
        many = jobs({"threads.check_leakage": 1})
    finally:
        table.write_text(content)
    # 12 street images, too; 2,926 MB were measured.
    assert value_at(many, "check_leakage.resources.mem_mb") == 2000 + 5_100_012 * 6 // 10000


@pytest.mark.parametrize("key", WORKFLOW)
def test_a_key_of_the_configuration_reaches_its_jobs(key, default, changed):
    value, places = WORKFLOW[key]
    for place in places:
        assert value_at(changed, place) == value, place
        assert value_at(default, place) != value, place


def test_the_keys_of_further_kinds_of_segmentations_reach_their_jobs(jobs):
    values = {key: value for key, (value, _) in FURTHER.items()}
    default, changed = jobs(FURTHER_ENTRIES), jobs(FURTHER_ENTRIES | values)
    for key, (value, places) in FURTHER.items():
        for place in places:
            assert value_at(changed, place) == value, key
            assert value_at(default, place) != value, key
    for name in ("sam2", "semantic"):
        assert "given" in value_at(changed, f"segment[{name}].input")
    assert {"other.py", "others.txt"} < set(value_at(changed, "segment[python].input"))
    for rule in ("score", "pack_crops"):
        assert "others.txt" in value_at(changed, f"{rule}[python].input")
    assert "others.txt" not in value_at(changed, "score[semantic].input")


def test_a_class_list_of_another_vocabulary_stops_before_the_first_job(jobs):
    entries = FURTHER_ENTRIES | {"scores.semantic.classes": "classes.txt"}
    message = (
        "scores.semantic.classes: classes.txt, line 1: 'street sign' is not a class of Cityscapes"
        ".*; the segmentation semantic names Cityscapes classes"
    )
    with pytest.raises(WorkflowError, match=message):
        jobs(entries)


def test_other_segmenters_of_street_scenes_add_their_jobs_to_the_study(jobs, monkeypatch):
    experiment = yaml.safe_load((ROOT / "config/experiments/street_segmenters.yaml").read_text())
    found = jobs({}, **experiment)
    names = {"sam", *experiment["segmentations"]}
    assert {job.wildcards.segmentation for job in found["segment"]} == names
    models = {path for job in found["segment"] for path in job.params.weights}
    known = yaml.safe_load((ROOT / "config/weights.yaml").read_text(encoding="utf-8"))
    assert {Path(path).name for path in models} <= known.keys()
    retrieved = {str(job.wildcards.folder) for job in found["retrieve_model"]}
    assert retrieved >= {Path(e["path"]).name for e in experiment["segmentations"].values()}
    vocabularies = {job.wildcards.scores: job.params.vocabulary for job in found["score"]}
    assert vocabularies["sam2"] == vocabularies["objects"] == "imagenet"
    assert vocabularies["mask2former_mapillary"] == "mapillary_vistas"
    trained = {job.wildcards.dataset for job in found["train"]}
    assert trained == {"original", "weighted_base", "weighted_custom", *experiment["datasets"]}


@pytest.mark.parametrize("key", FILES)
def test_a_file_of_the_configuration_is_an_input_of_its_job(key, default, changed):
    value, places = FILES[key]
    for place in places:
        assert value in value_at(changed, place), place
        assert value not in value_at(default, place), place


def test_the_file_of_a_users_curve_reaches_every_job_that_shows_its_dataset(jobs):
    own = {"curve": "python", "scores": "objects", "file": "own.py", "options": {"power": 3},
           "column": True}  # fmt: skip
    kinds = {kind: {"kind": kind} for kind in ("contrastive", "geoclip")}
    models = {"cells": {"kind": "cells"}, "python": {"kind": "python", "file": "other.py"}} | kinds
    found = jobs({}, datasets={"own": own}, models=models)
    for rule in ("train", "train_cells", "train_clip"):
        for job in found[rule]:
            seen = job.wildcards.dataset == "own"
            assert ("own.py" in map(str, job.input)) == seen, rule
            assert (job.params.view.get("options") == {"power": 3}) == seen, rule
    for rule in ("predict", "predict_clip", "predict_geoclip", "predict_python"):
        for job in found[rule]:
            assert "own.py" in map(str, job.input), rule
            assert job.params.views["own"]["file"] == "own.py"
    assert "own.py" in value_at(found, "score_examples.input")


@pytest.mark.parametrize("collection", ["sources", "test_sets"])
def test_the_keys_of_a_source_reach_the_index(collection, jobs):
    entry = {key: value for key, (value, _) in SOURCE.items()} | {"size": 640}
    found = jobs({}, **{collection: {"other": entry}})
    for key, (value, places) in SOURCE.items():
        for place in places:
            assert value_at(found, place.format(collection=collection)) == value, key


@pytest.mark.parametrize("collection", ["sources", "test_sets"])
def test_the_file_of_a_users_source_is_an_input_of_the_index(collection, jobs):
    entry = {"kind": "python", "path": "elsewhere", "file": "own.py", "size": 640}
    assert "own.py" in value_at(jobs({}, **{collection: {"other": entry}}), "index.input")


def test_the_keys_of_retrieving_reach_its_job(jobs, folder):
    entry = {"kind": "country_folders", "path": "resources/far", "size": 640, "retrieve": RETRIEVE}
    found = jobs({}, sources={"far": entry})
    assert dict(value_at(found, "retrieve_source[far].params.entry.retrieve")) == RETRIEVE
    for key in ("kind", "path"):
        assert value_at(found, f"retrieve_source.params.entry.{key}") == entry[key]


def test_crop_and_size_reach_the_jobs_of_their_own_source(jobs):
    entry = tiny_study("x")["sources"]["geoguessr"] | {"crop": "none", "size": 640}
    before, after = jobs({}), jobs({}, sources={"geoguessr": entry})
    place = "prepare[{}].params.preparation.{}"
    assert value_at(before, place.format("street", "geoguessr"))["crop"] == "center"
    assert value_at(after, place.format("street", "geoguessr")) == {"crop": "none", "size": 640}
    test_set = tiny_study("x")["test_sets"]["im2gps3k"] | {"size": 32}
    after = jobs({}, test_sets={"im2gps3k": test_set})
    assert value_at(after, place.format("im2gps3k", "im2gps3k")) == {"crop": "none", "size": 32}


def test_the_title_of_a_test_set_reaches_tables_and_figures(jobs):
    test_set = tiny_study("x")["test_sets"]["im2gps3k"] | {"title": "Photographs"}
    after = jobs({}, test_sets={"im2gps3k": test_set})
    assert value_at(after, "table1.params.columns.im2gps3k") == "Photographs Accuracy"
    assert value_at(after, "accuracy_figure.params.test_set_titles.im2gps3k") == "Photographs"


def test_a_split_by_image_knows_no_places(default, changed):
    assert value_at(default, "index.params.place_km") is None
    assert value_at(changed, "index.params.place_km") == 9


def test_the_name_of_the_run_is_its_folder(default):
    for rule in ("index", "prepare", "segment", "train", "predict", "table1", "metrics"):
        for path in value_at(default, f"{rule}.output"):
            assert path.startswith("results/reaches/")


READ_STORES = (
    "segment", "score", "pack_images", "pack_scores", "pack_crops", "train", "train_cells",
    "train_clip", "predict", "predict_clip", "predict_geoclip", "predict_python", "check_leakage",
    "score_examples", "describe_segments", "explain", "explain_clip",
    "explanation_examples",
)  # fmt: skip


@pytest.mark.parametrize("rule", READ_STORES)
def test_every_job_that_reads_stores_compares_them_with_the_index_of_its_run(rule, default):
    assert {job.params.index_folder for job in default[rule]} == {"results/reaches/index"}


@pytest.mark.parametrize("rule", ["train", "train_clip"])
def test_networks_learn_random_labels_with_the_settings_of_their_rows(rule, changed):
    own = {tuple(job.wildcards): dict(job.params.items()) for job in changed[rule]}
    misled = changed[f"{rule}_random_labels"]
    assert misled
    for job in misled:
        params = dict(job.params.items())
        assert params.pop("random_labels") is True
        assert params == own[tuple(job.wildcards)]


def test_nothing_is_trained_where_too_many_images_could_not_be_read(default):
    for rule in ("train", "train_cells", "train_clip"):
        assert "results/reaches/quarantine.csv" in value_at(default, f"{rule}.input")


def test_a_wrong_value_and_a_folder_of_two_sources_stop_before_the_first_job(jobs):
    with pytest.raises(WorkflowError, match=r"index\.min_images"):
        jobs({"index.min_images": "many"})
    twin = {"kind": "country_folders", "path": "world", "images": ".", "size": 640}
    with pytest.raises(WorkflowError, match="geoguessr and sources.twin share files"):
        jobs({}, sources={"twin": twin})


def test_weights_are_compared_with_the_sums_of_their_list(default):
    known = yaml.safe_load((ROOT / "config/weights.yaml").read_text(encoding="utf-8"))
    weights = value_at(default, "segment.params.weights")
    assert list(weights) == [
        f"{WEIGHTS}/sam_vit_h_4b8939.pth",
        f"{WEIGHTS}/resnet50-0676ba61.pth",
    ]
    for path, entry in weights.items():
        assert entry["sha256"] == known[Path(path).name]["sha256"]


def test_new_and_vanished_files_of_a_source_are_another_index(jobs, folder):
    before = value_at(jobs({}), "index.params.listing")
    Image.new("RGB", (8, 8)).save(folder / "world/France/new.jpg")
    after = value_at(jobs({}), "index.params.listing")
    (folder / "world/France/new.jpg").unlink()
    assert before["geoguessr"] != after["geoguessr"]
    assert before["im2gps3k"] == after["im2gps3k"]
    assert value_at(jobs({}), "index.params.listing") == before


def test_the_comparison_knows_what_is_not_the_study_and_compares_its_models_only(
    folder, monkeypatch
):
    monkeypatch.chdir(folder)
    models = {"cnn": {"title": "Network"}, "transfer": {"preprocessing": "imagenet"}}
    config = tiny_study("reaches") | {"models": models, "scores": {"objects": {"minimum": 0.3}}}
    found = planned(folder, config, target="results/reaches/table1_comparison.csv")
    params = value_at(found, "table1_comparison.params")
    assert params.differences == ["sources.streetview", "scores.objects.minimum"]
    assert params.titles["Model"] == {
        "Network": "Convolutional Neural Network",
        "StreetCLIP": "StreetCLIP",
    }


def test_the_figure_of_examples_has_four_of_them(default):
    assert value_at(default, "score_examples.params.examples") == 4


def test_the_demo_draws_the_world_that_is_asked_for(tmp_path, monkeypatch):
    folder = make_workdir(tmp_path)
    monkeypatch.chdir(folder)
    asked = {"images_per_country": 11, "test_set_images": 12, "countries": 5,
             "informative": ["pole", "roof"], "difficulty": 0.5}  # fmt: skip
    found = planned(folder, {"seed": 9, "demo": asked}, folder / "config/demo.yaml")
    params = value_at(found, "make_demo_data.params")
    assert dict(params.items()) == {"seed": 9, **asked}


def test_masks_are_of_street_images_only_and_tests_of_the_test_sets(default):
    counts = {"segment": 2, "score": 2, "pack_scores": 2, "prepare": 3, "pack_images": 3}
    assert {rule: len(default[rule]) for rule in counts} == counts
    lists = "results/reaches/lists/"
    arrays, scores = f"{lists}arrays/images/street.csv", f"{lists}arrays/scores/objects.csv"
    test_set = f"{lists}arrays/images/im2gps3k.csv"
    assert arrays in value_at(default, "train.input")
    assert test_set not in value_at(default, "train.input")
    assert {arrays, test_set, scores} < set(value_at(default, "predict.input"))


def test_each_list_of_shards_is_made_of_all_shards_of_its_stage(default):
    found = {
        f"{job.wildcards.stage}/{job.wildcards.name}": {str(file) for file in job.input}
        for job in default["list_shards"]
    }
    street = {f"street/{code}/0000.h5" for code in ("FR", "NA")}
    of_entries = ("segments/sam", "scores/objects", "arrays/scores/objects")
    expected = {name: {f"{name}/{code}/0000.h5" for code in ("FR", "NA")} for name in of_entries}
    for stage in ("images", "arrays/images"):
        expected[f"{stage}/street"] = {f"{stage}/{shard}" for shard in street}
        expected[f"{stage}/im2gps3k"] = {f"{stage}/im2gps3k/FR/0000.h5"}
    crops = {f"arrays/crops/objects/{code}/0000" for code in ("FR", "NA")}
    expected["arrays/crops/objects"] = {
        f"{shard}{end}" for shard in crops for end in (".h5", ".csv")
    }
    assert found == {
        name: {f"results/reaches/{file}" for file in files} for name, files in expected.items()
    }


def test_jobs_that_read_all_shards_wait_for_their_lists(default):
    read = {
        "train[weighted_base]": ["arrays/images/street", "arrays/scores/objects"],
        "predict": ["arrays/images/street", "arrays/scores/objects", "arrays/images/im2gps3k"],
        "predict_clip": ["images/street", "scores/objects", "images/im2gps3k"],
        "explain": ["arrays/images/street", "arrays/scores/objects", "segments/sam"],
        "explain_clip": ["images/street", "scores/objects", "segments/sam"],
    }
    for rule, names in read.items():
        files = {f"results/reaches/lists/{n}{end}" for n in names for end in (".csv", ".complete")}
        found = {file for file in value_at(default, f"{rule}.input") if "/lists/" in file}
        assert found == files, rule


def test_a_row_waits_only_for_the_score_maps_that_its_datasets_need(default):
    scores = {"original": 0, "weighted_base": 2, "weighted_custom": 2, "objects": 0}  # list, mark
    for job in default["train"]:
        found = [path for path in map(str, job.input) if "/arrays/scores/" in path]
        assert len(found) == scores[job.wildcards.dataset]


def test_the_table_has_the_published_rows_in_their_order(jobs):
    datasets = ("original", "weighted_base", "weighted_custom")
    expected = [[model, dataset, "42"] for model in ("cnn", "transfer") for dataset in datasets]
    found = jobs({})
    expected.append(["clip", "default", "any"])
    for rule in ("table1", "metrics"):
        assert list(value_at(found, f"{rule}.params.rows")) == expected
        paths = [p for p in value_at(found, f"{rule}.input") if "/predictions/" in p]
        assert paths == [f"results/reaches/predictions/{'/'.join(row)}.parquet" for row in expected]


def test_rows_and_columns_of_the_study_come_first_whatever_file_names_them(jobs):
    """Snakemake puts the keys of a file given with --configfile before the others."""
    dim = {"scores": "objects", "curve": "linear", "column": True}
    found = jobs({"models.own.kind": "cnn"}, datasets={"dim": dim})
    columns = list(value_at(found, "table1.params.columns"))
    assert columns == ["original", "weighted_base", "weighted_custom", "dim", "im2gps3k"]
    models = list(dict.fromkeys(row[0] for row in value_at(found, "metrics.params.rows")))
    assert models == ["cnn", "transfer", "clip", "own"]


def test_each_dataset_of_the_contrastive_model_is_trained_on_its_own(default):
    found = {str(job.wildcards.dataset): job.params.view["curve"] for job in default["train_clip"]}
    assert found == {
        "original": "none",
        "weighted_base": "linear",
        "weighted_custom": "piecewise",
    }


def test_a_clip_that_is_trained_here_sees_the_original_images(jobs):
    (job,) = jobs({"models.clip.path": None})["train_clip"]
    assert (dict(job.params.view), dict(job.params.model)) == ({"curve": "none"}, {})


def test_the_test_sets_of_their_own_file_are_test_sets_in_its_order(jobs):
    more = yaml.safe_load((ROOT / "config/test_sets.yaml").read_text())["test_sets"]
    found = jobs({}, test_sets=more)
    assert list(value_at(found, "predict.params.test_sets")) == ["im2gps3k", "im2gps", "yfcc25600"]


def test_a_model_of_cells_is_predicted_with_its_cells_and_others_without(default):
    for job in default["predict"]:
        cells = [path for path in map(str, job.input) if path.endswith("cells.json")]
        folder = f"results/reaches/models/{'/'.join(job.wildcards)}"
        assert cells == ([f"{folder}/cells.json"] if job.wildcards.model == "cells" else [])
    outputs = {path for job in default["train_cells"] for path in map(str, job.output)}
    assert {path for path in outputs if path.endswith("cells.json")} == {
        f"results/reaches/models/cells/{dataset}/42/cells.json"
        for dataset in ("original", "weighted_base", "weighted_custom")
    }


def test_every_rule_runs_in_the_configured_container_of_its_environment():
    rules = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    named = re.findall(r"^ *(?:rule|checkpoint) (\w+):", rules, flags=re.MULTILINE)
    pairs = re.findall(
        r'conda:\n +"\.\./envs/(\w+)\.yaml"\n +container:\n +config\["containers"\]\["(\w+)"\]\n',
        rules,
    )
    assert len(pairs) == len(named) > 15
    assert all(environment == container for environment, container in pairs)


def test_what_looks_at_street_images_is_given_all_of_them(default):
    street = {f"street/{country}/0000" for country in ("FR", "NA")}
    images = {f"results/reaches/images/{shard}.h5" for shard in street}
    others = {"results/reaches/images/im2gps3k/FR/0000.h5"}
    scores = {f"results/reaches/scores/objects/{country}/0000.h5" for country in ("FR", "NA")}
    assert images | others <= set(value_at(default, "check_leakage.input"))
    segments = {f"results/reaches/segments/sam/{country}/0000.h5" for country in ("FR", "NA")}
    for rule in ("score_examples", "describe_segments"):
        assert images | scores | segments <= set(value_at(default, f"{rule}.input"))
    tables = {f"results/reaches/quarantine/{shard}.csv" for shard in street}
    assert tables < set(value_at(default, "collect_quarantine.input"))
