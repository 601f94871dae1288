"""Stores are compared with the index by every job that reads them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from geoloc import stores
from geoloc.stores import StoreError, check_store
from tests.script_runs import run_script
from tests.small_stores import segments_of

IDS = ["s/a.jpg", "s/b é.jpg", "s/c.jpg"]
SPLITS = ["train", "val", "test"]
PLACES = {
    "images": "images/street",
    "segments": "segments/sam",
    "scores": "scores/objects",
    "arrays": "arrays/images/street",
    "score_arrays": "arrays/scores/objects",
}
OUTPUTS = (
    "segments", "scores", "arrays", "model", "predictions", "images", "summary", "figure", "objects"
)  # fmt: skip
MANIFEST = "image_id,source,path,latitude,longitude,country,split\n" + "".join(
    f"{name},s,{name[2:]},48.5,2.25,FR,{split}\n" for name, split in zip(IDS, SPLITS, strict=True)
)


def write_all(folder: Path, seed: int = 0, ids=IDS) -> dict[str, Path]:
    """A shard of France in all layouts, of a run in `folder`, with its manifest."""
    random = np.random.default_rng(seed)
    n = len(ids)
    paths = {kind: folder / place / "FR/0000.h5" for kind, place in PLACES.items()}
    place = {"latitude": 48.5, "longitude": 2.25, "source": "s"}
    rows = [
        {"image_id": i, "image": random.bytes(99), "split": s} | place
        for i, s in zip(ids, SPLITS, strict=True)
    ]
    stores.write_images(paths["images"], rows)
    corner = np.zeros((640, 640), bool)
    corner[:90, :70] = True
    stores.write_segments(paths["segments"], (segments_of(i, [corner, ~corner]) for i in ids))
    scores = random.integers(0, 101, (n, 640, 640), np.uint8)
    stores.write_scores(paths["scores"], zip(ids, scores, strict=True))
    columns = {"image_id": ids, "label": ["FR"] * n, "split": SPLITS, "source": ["s"] * n}
    columns |= {"latitude": np.full(n, 48.5), "longitude": np.full(n, 2.25)}
    pixels = random.integers(0, 256, (n, 224, 224, 3), np.uint8)
    stores.write_arrays(paths["arrays"], columns, pixels)
    stores.write_score_arrays(paths["score_arrays"], ids, scores[:, :224, :224])
    manifest = folder / "index/shards/street/FR/0000.csv"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(MANIFEST, encoding="utf-8")
    return paths


def check(path: Path, kind: str, index: Path) -> None:
    check_store(path, kind, digests=False, index=index)


@pytest.fixture
def shard(tmp_path):
    return write_all(tmp_path)


@pytest.mark.parametrize("kind", PLACES)
def test_whole_stores_are_those_of_the_index(shard, tmp_path, kind):
    check(shard[kind], kind, tmp_path / "index")


@pytest.mark.parametrize("kind", PLACES)
def test_the_store_of_another_shard_is_refused(shard, kind, tmp_path):
    other = write_all(tmp_path / "other", 1, ["s/x.jpg", "s/y.jpg", "s/z.jpg"])
    shard[kind].write_bytes(other[kind].read_bytes())
    with pytest.raises(StoreError, match=r"s/x\.jpg is not an image of .*0000\.csv"):
        check(shard[kind], kind, tmp_path / "index")


READERS = {
    "images": lambda shard, index: list(stores.read_images(shard["images"], index=index)),
    "segments": lambda shard, index: list(stores.read_segments(shard["segments"], index=index)),
    "scores": lambda shard, index: list(stores.read_scores(shard["scores"], index=index)),
    "score maps": lambda shard, index: stores.ScoreMaps([shard["scores"]], index),
    "arrays": lambda shard, index: stores.Arrays([shard["arrays"]], index=index),
    "columns of images": lambda shard, index: stores.read_image_columns(shard["images"], index),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_compares_what_it_reads_with_the_index(shard, reader, tmp_path):
    read = READERS[reader]
    read(shard, tmp_path / "index")
    manifest = tmp_path / "index/shards/street/FR/0000.csv"
    manifest.write_text(MANIFEST.replace("s/a.jpg", "s/x.jpg"), encoding="utf-8")
    with pytest.raises(StoreError, match=r"s/a\.jpg is not an image of "):
        read(shard, tmp_path / "index")
    read(shard, None)


@pytest.mark.parametrize("missing", ["images", "scores"])
def test_pairs_are_compared_with_the_index(shard, missing, tmp_path):
    """Both stores: either could be of another shard."""
    other = write_all(tmp_path / "other", 1, ["s/x.jpg", "s/y.jpg", "s/z.jpg"])
    pair = {"images": shard["images"], "scores": shard["scores"]}
    pair[missing].write_bytes(other[missing].read_bytes())
    with pytest.raises(StoreError, match=r"s/x\.jpg is not an image of "):
        list(stores.read_images_and_scores(*pair.values(), index=tmp_path / "index"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",FR,train", ",DE,train", "label of s/a.jpg is FR, but DE"),
        (",FR,val", ",FR,test", "split of s/b é.jpg is val, but test"),
        ("s/c.jpg,s,c.jpg,48.5", "s/c.jpg,s,c.jpg,48.6", "latitude of s/c.jpg is 48.5, but 48.6"),
        ("c.jpg,48.5,2.25", "c.jpg,48.5,2.5", "longitude of s/c.jpg is 2.25, but 2.5"),
        ("c.jpg,48.5,2.25", "c.jpg,,", "latitude of s/c.jpg is 48.5, but nan"),
        ("s/c.jpg,s,", "s/c.jpg,t,", "source of s/c.jpg is s, but t"),
    ],
)
def test_labels_splits_and_places_are_those_of_the_index(shard, tmp_path, old, new, message):
    manifest = tmp_path / "index/shards/street/FR/0000.csv"
    assert old in MANIFEST
    manifest.write_text(MANIFEST.replace(old, new), encoding="utf-8")
    with pytest.raises(StoreError, match=message):
        check(shard["arrays"], "arrays", tmp_path / "index")


@pytest.mark.parametrize("kind", PLACES)
def test_images_are_in_the_order_of_the_index(shard, tmp_path, kind):
    manifest = tmp_path / "index/shards/street/FR/0000.csv"
    header, *rows = MANIFEST.splitlines(keepends=True)
    manifest.write_text("".join([header, rows[1], rows[0], rows[2]]), encoding="utf-8")
    with pytest.raises(StoreError, match=r"images are not in the order of .*0000\.csv"):
        check(shard[kind], kind, tmp_path / "index")


@pytest.mark.parametrize(("content", "words"), [(None, "is missing"), (b"\xff\xfe", "is damaged")])
def test_a_manifest_that_cannot_be_read_is_named(shard, tmp_path, content, words):
    manifest = tmp_path / "index/shards/street/FR/0000.csv"
    manifest.unlink()
    if content:
        manifest.write_bytes(content)
    with pytest.raises(StoreError, match=rf"{manifest} {words}; run snakemake index --force"):
        check(shard["scores"], "scores", tmp_path / "index")


def test_an_image_of_the_index_is_in_the_store_or_in_quarantine(shard, tmp_path):
    manifest = tmp_path / "index/shards/street/FR/0000.csv"
    manifest.write_text(MANIFEST + "s/d.jpg,s,d.jpg,,,FR,test\n", encoding="utf-8")
    with pytest.raises(StoreError, match=r"s/d\.jpg of .* is missing in it and not in quarantine"):
        check(shard["images"], "images", tmp_path / "index")
    quarantine = tmp_path / "quarantine/street/FR/0000.csv"
    quarantine.parent.mkdir(parents=True)
    quarantine.write_text("source,path,reason\ns,d.jpg,the file is empty\n")
    check(shard["images"], "images", tmp_path / "index")


def test_masks_of_other_images_are_not_laid_over_images(shard, tmp_path):
    other = write_all(tmp_path / "other", 1, ["s/x.jpg", "s/y.jpg", "s/z.jpg"])
    with pytest.raises(StoreError, match="belongs to other images"):
        list(stores.read_images_and_scores(shard["images"], other["scores"]))
    maps = [(name, np.zeros((640, 640), np.uint8)) for name in IDS]
    for wrong in (maps[:2], [*maps, ("s/d.jpg", maps[0][1])]):
        stores.write_scores(other["scores"], wrong)
        with pytest.raises(StoreError, match="belongs to other images"):
            list(stores.read_images_and_scores(shard["images"], other["scores"]))


class Compared(Exception):
    """A store was about to be compared with an index."""


SCRIPTS = {
    "segment": {"images": "images"},
    "score": {"segments": "segments"},
    "pack_images": {"images": "images"},
    "pack_scores": {"scores": "scores"},
    "train": {"arrays": ["arrays"], "scores": ["score_arrays"]},
    "train_clip": {"arrays": ["arrays"], "scores": ["score_arrays"]},
    "predict": {"street": ["arrays"], "scores": ["score_arrays"]},
    "predict_clip": {"street": ["images"], "scores": ["scores"]},
    "check_leakage": {"street": ["images"]},
    "score_examples": {
        "images": ["images"],
        "segments": ["segments"],
        "scores": ["scores"],
    },
    "describe_segments": {"segments": ["segments"], "scores": ["scores"]},
}


READ = [
    (script, kind)
    for script, inputs in SCRIPTS.items()
    for kinds in inputs.values()
    for kind in (kinds if isinstance(kinds, list) else [kinds])
]


@pytest.mark.parametrize(("script", "compared"), READ)
def test_every_job_compares_each_of_its_stores_with_the_index(
    shard, tmp_path, monkeypatch, script, compared
):
    def stop(store, index):
        if index is not None and store.path == shard[compared]:
            raise Compared(index)

    for module in ("images", "segments", "scores", "arrays", "check"):
        monkeypatch.setattr(f"geoloc.stores.{module}.check_manifest", stop)
    segmentation = SimpleNamespace(vocabulary="imagenet"), None
    for function in (
        "geoloc.segmentation.kinds.build_segmentation",
        "geoloc.image_text.zero_shot.ClipZeroShot",
        "geoloc.image_text.zero_shot.check_classes",
        "geoloc.model_record.check_row",
        "geoloc.pytorch.device.use_threads",
    ):
        monkeypatch.setattr(function, lambda *_, **__: segmentation)
    if script == "predict":
        monkeypatch.setattr("geoloc.keras_models.predict.load_trained", lambda *_, **__: None)
        monkeypatch.setattr("geoloc.keras_models.runtime.setup", lambda *_, **__: None)
    (tmp_path / "countries.csv").write_text("country,kept\nDE,True\nFR,True\n")
    (tmp_path / "c.txt").write_text("street sign\n")
    index = {"image_id": IDS, "split": ["test"] * 3, "country": ["FR"] * 3}
    index |= {"collection": ["street"] * 3, "source": ["s"] * 3}
    index |= {"latitude": [1.0] * 3, "longitude": [1.0] * 3}
    pd.DataFrame(index).to_parquet(tmp_path / "images.parquet")
    inputs = {
        name: [shard[k] for k in kinds] if isinstance(kinds, list) else shard[kinds]
        for name, kinds in SCRIPTS[script].items()
    }
    inputs |= {"countries": tmp_path / "countries.csv", "index": tmp_path / "images.parquet"}
    inputs |= {"classes": tmp_path / "c.txt", "model": tmp_path / "model", "test_sets": []}
    inputs |= {"crops": [], "boxes": []}
    if script == "describe_segments":  # reads only images that its figure shows
        inputs["images"] = [shard["images"]]
    view = {"curve": "linear", "scores": "objects"}
    params = {
        "index_folder": "the index", "seed": 1, "view": view, "views": {"a": view},
        "scores": ["objects"], "crops": [], "train": {"augmentation": {}},
        "model": {"kind": "cnn"} if script == "train" else {}, "batch_size": 2,
        "test_sets": [], "prompt": "{country}", "ambiguous_classes": "first_meaning",
        "vocabulary": "imagenet", "minimum": 0.1, "merge": "maximum", "examples": 1,
        "near_duplicate_bits": 6,
        "segmentation": {}, "engine": {}, "weights": {},
    }  # fmt: skip
    with pytest.raises(Compared, match="the index"):
        run_script(
            script,
            input=inputs,
            output=dict.fromkeys(OUTPUTS, tmp_path / "out"),
            params=params,
            wildcards={"country": "FR", "model": "cnn", "dataset": "a", "seed": "1"},
        )
