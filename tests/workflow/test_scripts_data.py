"""What the scripts of data do with each of their parameters, from the index to the arrays."""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geoloc.corpus.sources import SourceError
from geoloc.segmentation import rle
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.stores import (
    Arrays,
    read_config,
    read_images,
    read_scores,
    read_segments,
    write_images,
    write_scores,
    write_segments,
)
from geoloc.tables import read_rows
from geoloc.types import SCORE_SIZE, Segments
from tests.script_runs import recorded, run_script
from tests.small_sam import picture
from tests.small_segmenters import semantic_folder

FOLDERS = {
    "kind": "country_folders", "images": ".", "table": None, "file_column": None,
    "id_column": "id", "subset": False, "latitude_column": "latitude",
    "longitude_column": "longitude", "author_column": None, "crop": "none", "size": None,
}  # fmt: skip
TABLE = FOLDERS | {"kind": "coordinates_table", "table": "t.csv", "file_column": "file"}
PALATINE = (41.8987, 12.4815)  # in Italy, nearest to the Vatican
INDEX = {
    "min_images": 8, "shard_size": 5, "seed": 1, "split": [0.5, 0.25, 0.25], "place_km": None,
    "max_rejected": 0.2, "geocoder": "country_polygon",
}  # fmt: skip

SCORE = {
    "ambiguous_classes": "first_meaning",
    "vocabulary": "imagenet",
    "minimum": 0.1,
    "merge": "maximum",
}


def png(size=(48, 32), color=(200, 100, 50)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


# --------------------------------------------------------------------------------------- index


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, dict]:
    """12 images in two places of Italy, one in the middle of the Atlantic; folders of France (8)
    and Japan (7)."""
    folder = tmp_path_factory.mktemp("places")
    for country, count in (("France", 8), ("Japan", 7)):
        (folder / "named" / country).mkdir(parents=True)
        for number in range(count):
            (folder / "named" / country / f"{number}.png").write_bytes(png())
    (folder / "located").mkdir()
    rows = [(f"{n}.png", *(PALATINE if n % 2 else (45.46, 9.19))) for n in range(12)]
    for file, _, _ in (*rows, sea := ("sea.png", 30.0, -45.0)):
        (folder / "located" / file).write_bytes(png())
    table = pd.DataFrame([*rows, sea], columns=["file", "latitude", "longitude"])
    table.to_csv(folder / "located/t.csv", index=False)
    return {
        "named": FOLDERS | {"path": str(folder / "named")},
        "located": TABLE | {"path": str(folder / "located")},
    }


def index(places, folder: Path, test_sets: dict | None = None, **changes) -> pd.DataFrame:
    run_script(
        "index",
        output={"images": folder / "index/images.parquet"},
        params={"sources": places, "test_sets": test_sets or {}, **INDEX, **changes},
    )
    return pd.read_parquet(folder / "index/images.parquet")


def test_the_index_has_countries_of_enough_images_in_small_shards(places, tmp_path):
    images = index(places, tmp_path)
    assert images.country.value_counts().to_dict() == {"IT": 12, "FR": 8}
    assert images.groupby(["country", "shard"]).size().max() == 4
    rejected = read_rows(tmp_path / "index/rejected.csv")
    assert [row["path"] for row in rejected] == ["sea.png"]
    assert set(index(places, tmp_path, min_images=7).country) == {"IT", "FR", "JP"}
    assert set(index(places, tmp_path, shard_size=500).shard) == {"0000"}


def test_the_index_splits_by_seed_and_ratio(places, tmp_path):
    first, again = index(places, tmp_path), index(places, tmp_path)
    assert first.split.tolist() == again.split.tolist()
    assert first.split.tolist() != index(places, tmp_path, seed=2).split.tolist()
    assert first.split.value_counts().to_dict() == {"train": 10, "test": 5, "val": 5}
    other = index(places, tmp_path, split=[0.25, 0.5, 0.25])
    assert other.split.value_counts().to_dict() == {"val": 10, "train": 5, "test": 5}


def test_the_index_splits_by_place_where_a_size_is_given(places, tmp_path):
    images = index(places, tmp_path, place_km=5)
    located = images[images.source == "located"]
    assert (located.groupby("latitude").split.nunique() == 1).all()
    apart = index(places, tmp_path)
    assert (apart[apart.source == "located"].groupby("latitude").split.nunique() > 1).all()


def test_the_index_places_images_by_the_geocoder_and_stops_at_too_many_without(places, tmp_path):
    images = index(places, tmp_path, geocoder="nearest_city", min_images=6)
    assert images.country.value_counts()["VA"] == 6
    with pytest.raises(SourceError, match="1 of 13"):
        index(places, tmp_path, max_rejected=0)


def test_images_of_a_test_set_do_not_make_a_country(places, tmp_path):
    shutil.copytree(places["named"]["path"], tmp_path / "far")
    test_set = {"far": FOLDERS | {"path": str(tmp_path / "far")}}
    sources = {"located": places["located"], "named": places["named"]}
    images = index(sources, tmp_path, test_sets=test_set)
    assert set(images.country) == {"IT", "FR"}  # 7 of Japan in the street images, 7 in the other
    far = images[images.collection == "far"]
    assert (len(far), set(far.split), set(far.country)) == (8, {"test"}, {"FR"})


# ------------------------------------------------------------------------------ images to arrays


@pytest.mark.parametrize(
    ("crop", "size", "expected"),
    [("center", 16, (16, 16)), ("none", None, (48, 32)), ("center", None, (32, 32))],
)
def test_prepare_crops_and_resizes_as_its_source_says(places, tmp_path, crop, size, expected):
    rows = [{"image_id": "named/France/0.png", "source": "named", "path": "France/0.png",
             "latitude": "", "longitude": "", "country": "FR", "split": "val"}]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    run_script(
        "prepare",
        input={"manifest": tmp_path / "m.csv"},
        output={"images": tmp_path / "i.h5", "quarantine": tmp_path / "q.csv"},
        params={
            "sources": {"named": places["named"] | {"crop": crop, "size": size}},
            "preparation": {"named": {"crop": crop, "size": size}},
            "max_megapixels": 1,
        },
        wildcards={"collection": "street", "country": "FR", "shard": "0000"},
    )
    ((image_id, data),) = read_images(tmp_path / "i.h5")
    assert (image_id, Image.open(io.BytesIO(data)).size) == ("named/France/0.png", expected)


@pytest.mark.parametrize(("limit", "packed"), [(0.0015, 0), (0.0016, 1)])
def test_prepare_leaves_out_what_has_more_megapixels_than_allowed(places, tmp_path, limit, packed):
    """48 × 32 pixels."""
    rows = [{"image_id": "named/France/0.png", "source": "named", "path": "France/0.png",
             "latitude": "", "longitude": "", "country": "FR", "split": "val"}]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    run_script(
        "prepare",
        input={"manifest": tmp_path / "m.csv"},
        output={"images": tmp_path / "i.h5", "quarantine": tmp_path / "q.csv"},
        params={"sources": places, "preparation": {"named": {}}, "max_megapixels": limit},
        wildcards={"collection": "street", "country": "FR", "shard": "0000"},
    )
    assert len(list(read_images(tmp_path / "i.h5"))) == packed
    assert len(read_rows(tmp_path / "q.csv")) == 1 - packed


@pytest.mark.parametrize(("limit", "stops"), [(0.5, False), (0.4, True)])
def test_quarantine_gathers_what_was_left_out_and_stops_at_the_limit(tmp_path, limit, stops):
    pd.DataFrame({"source": [*"aaaab"]}).to_parquet(tmp_path / "images.parquet")
    header = "source,path,reason\n"
    (tmp_path / "rejected.csv").write_text(header + "b,z.jpg,no place\n")
    shard = tmp_path / "quarantine/street/FR/0000.csv"
    shard.parent.mkdir(parents=True)
    shard.write_text(header + "a,y.jpg,damaged\na,x.jpg,cut off\n")

    def gather():
        run_script(
            "collect_quarantine",
            input={
                "images": tmp_path / "images.parquet",
                "rejected": tmp_path / "rejected.csv",
                "shards": [shard],
            },
            output={"quarantine": tmp_path / "all.csv"},
            params={"max_unreadable": limit},
        )

    if stops:
        with pytest.raises(SourceError, match="2 of 4 .* y.jpg: damaged; x.jpg: cut off"):
            gather()
    else:
        gather()
        expected = header + "a,x.jpg,cut off\na,y.jpg,damaged\nb,z.jpg,no place\n"
        assert (tmp_path / "all.csv").read_text() == expected


def mask_of(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((SCORE_SIZE, SCORE_SIZE), bool)
    mask[rows, columns] = True
    return mask


@pytest.fixture(scope="module")
def segments(tmp_path_factory) -> Path:
    """One image: a street sign (919) of 60 % on columns 0–3, the bird crane (134) of 20 % on
    columns 3–6."""
    size = (SCORE_SIZE, SCORE_SIZE)
    masks = [mask_of(slice(0, 1), slice(0, 4)), mask_of(slice(0, 1), slice(3, 7))]
    class_id = np.full((2, 10), 0, np.int16)
    class_id[:, 0] = 919, 134
    probability = np.zeros((2, 10), np.float32)
    probability[:, 0] = 0.6, 0.2
    found = Segments(
        image_id="a",
        size=size,
        bbox=np.array([[0, 0, 4, 1], [3, 0, 4, 1]], np.int32),
        area=np.array([4, 4], np.int32),
        predicted_iou=np.ones(2, np.float32),
        stability_score=np.ones(2, np.float32),
        counts=[rle.encode(mask.T, 0, 0, size) for mask in masks],
        class_id=class_id,
        class_probability=probability,
    )
    path = tmp_path_factory.mktemp("segments") / "s.h5"
    write_segments(path, [found])
    return path


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [60, 60, 60, 60, 0, 0, 0]),
        ({"ambiguous_classes": "every_meaning"}, [60, 60, 60, 60, 20, 20, 20]),
        ({"ambiguous_classes": "every_meaning", "merge": "as_published"}, [60] * 7),
        ({"minimum": 0.6}, [0] * 7),
        ({"minimum": 0.59}, [60, 60, 60, 60, 0, 0, 0]),
        ({"classes": "crane\n", "ambiguous_classes": "every_meaning"}, [0, 0, 0, 20, 20, 20, 20]),
    ],
)
def test_mask_scores_by_its_classes_minimum_and_merging(segments, tmp_path, changes, expected):
    params = SCORE | changes
    (tmp_path / "c.txt").write_text(params.pop("classes", "street sign\ncrane\n"))
    run_script(
        "score",
        input={"segments": segments, "classes": tmp_path / "c.txt"},
        output={"scores": tmp_path / "m.h5"},
        params=params,
    )
    ((image_id, score),) = read_scores(tmp_path / "m.h5")
    assert (image_id, score[0, :8].tolist(), score[1:].max()) == ("a", [*expected, 0], 0)


def test_masks_know_by_which_settings_they_were_made(segments, tmp_path):
    (tmp_path / "c.txt").write_text("street sign\ncrane\n")
    known = []
    for changes in ({}, {"minimum": 0.2}, {"merge": "as_published"},
                    {"ambiguous_classes": "every_meaning"}):  # fmt: skip
        run_script(
            "score",
            input={"segments": segments, "classes": tmp_path / "c.txt"},
            output={"scores": tmp_path / "m.h5"},
            params=SCORE | changes,
        )
        known.append(read_config(tmp_path / "m.h5", "scores"))
    assert len(set(known)) == 4


def test_arrays_have_the_label_of_their_country_and_the_scores_of_their_masks(tmp_path):
    place = {"latitude": 1.0, "longitude": 2.0, "split": "val", "source": "s"}
    write_images(tmp_path / "i.h5", [{"image_id": "a", "image": png((640, 640))} | place])
    score = np.full((SCORE_SIZE, SCORE_SIZE), 37, np.uint8)
    write_scores(tmp_path / "m.h5", [("a", score)])
    run_script(
        "pack_images",
        input={"images": tmp_path / "i.h5"},
        output={"arrays": tmp_path / "a.h5"},
        wildcards={"collection": "street", "country": "NA", "shard": "0000"},
    )
    run_script(
        "pack_scores",
        input={"scores": tmp_path / "m.h5"},
        output={"arrays": tmp_path / "s.h5"},
        wildcards={"scores": "objects", "country": "NA", "shard": "0000"},
    )
    for scores, expected in (([tmp_path / "s.h5"], 37), (None, 100)):
        arrays = Arrays([tmp_path / "a.h5"], scores=scores)
        assert (arrays.image_id.tolist(), arrays.label.tolist()) == (["a"], ["NA"])
        assert set(np.unique(arrays.read(np.arange(1))[1])) == {expected}


@pytest.mark.parametrize(("bits", "near"), [(0, 0), (64, 1)])
def test_leakage_counts_as_near_what_the_limit_allows(tmp_path, bits, near):
    rng = np.random.default_rng(0)
    paths, rows = {}, []
    for number, (split, collection) in enumerate([("train", "street"), ("test", "bench")]):
        image_id, path = f"{collection}/{split}", tmp_path / f"{split}.h5"
        buffer = io.BytesIO()
        noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(buffer, "PNG")
        place = {"latitude": float(number), "longitude": 0.0, "split": split}
        place |= {"source": collection}
        write_images(path, [{"image_id": image_id, "image": buffer.getvalue()} | place])
        paths[collection] = path
        rows.append({"image_id": image_id, "collection": collection, "country": "FR", "path": "x",
                     "author": "", "shard": "0000", **place})  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "index.parquet")
    run_script(
        "check_leakage",
        input={
            "index": tmp_path / "index.parquet",
            "street": [paths["street"]],
            "test_sets": [paths["bench"]],
        },
        output={"images": tmp_path / "l.csv", "summary": tmp_path / "s.csv"},
        params={"near_duplicate_bits": bits},
        threads=2,
    )
    assert pd.read_csv(tmp_path / "l.csv").image_id.tolist() == ["bench/test"]
    summary = pd.read_csv(tmp_path / "s.csv")
    assert summary.near_duplicates.tolist() == [near]


# ------------------------------------------------------------------- segments and what is fetched


def test_segment_gives_its_settings_to_segmenter_classifier_and_the_hash(monkeypatch, tmp_path):
    (tmp_path / "sam.pt").write_bytes(b"sam")
    segment = {"kind": "sam", "model": "vit_b", "weights": str(tmp_path / "sam.pt"),
               "classifier": {"kind": "resnet50", "weights": "r.pth"}, "points_per_side": 7,
               "precision": "bfloat16", "min_mask_region_area": 3}  # fmt: skip
    engine = {"points_per_batch": 5, "image_batch": 6, "crop_batch": 8, "compile": True}
    threads = recorded(monkeypatch, "geoloc.pytorch.device.use_threads")
    segmenters = recorded(
        monkeypatch, "geoloc.segmentation.kinds.build_segmenter", lambda _: "segmenter"
    )
    classifiers = recorded(
        monkeypatch, "geoloc.segmentation.kinds.build_classifier", lambda _: "classifier"
    )
    shards = recorded(monkeypatch, "geoloc.segmentation.shard.segment_shard")
    run_script(
        "segment",
        input={"images": "i.h5"},
        output={"segments": "s.h5"},
        params={
            "index_folder": "the index",
            "segmentation": segment,
            "engine": engine,
            "weights": {segment["weights"]: {}},
        },
        threads=3,
    )
    assert list(threads[0].values()) == [3]
    assert segmenters == [
        {"name": "vit_b", "checkpoint": segment["weights"], "points_per_side": 7,
         "precision": "bfloat16", "min_mask_region_area": 3, "points_per_batch": 5,
         "image_batch": 6, "compile": True}
    ]  # fmt: skip
    assert classifiers == [
        {"name": "resnet50", "weights": "r.pth", "batch_size": 8, "precision": "bfloat16",
         "compile": True}
    ]  # fmt: skip
    (shard,) = shards
    of_sam = hashlib.sha256(b"sam").hexdigest()
    assert shard.pop("config") == segment | {"weights": {segment["weights"]: of_sam}}
    assert shard == {"images_path": "i.h5", "output_path": "s.h5", "segmenter": "segmenter",
                     "classifier": "classifier", "index": "the index"}  # fmt: skip


def test_a_semantic_network_makes_segments_that_a_list_of_its_vocabulary_scores(tmp_path):
    folder = semantic_folder(tmp_path / "network", "segformer")
    place = {"latitude": 1.0, "longitude": 2.0, "split": "val", "source": "s"}
    image = cv2.imencode(".png", picture(640, 640)[..., ::-1])[1].tobytes()
    write_images(tmp_path / "i.h5", [{"image_id": "a", "image": image} | place])
    entry = {"kind": "semantic", "path": str(folder), "vocabulary": "cityscapes", "image_size": 96,
             "min_mask_region_area": 200, "precision": "float32"}  # fmt: skip
    run_script(
        "segment",
        input={"images": tmp_path / "i.h5"},
        output={"segments": tmp_path / "s.h5"},
        params={
            "segmentation": entry,
            "engine": {"image_batch": None, "compile": False},
            "weights": {str(folder): {}},
        },
    )
    (segments,) = read_segments(tmp_path / "s.h5")
    label = segments.class_id[0, 0]
    (tmp_path / "c.txt").write_text(vocabulary("cityscapes")[label])
    run_script(
        "score",
        input={"segments": tmp_path / "s.h5", "classes": tmp_path / "c.txt"},
        output={"scores": tmp_path / "m.h5"},
        params=SCORE | {"vocabulary": "cityscapes"},
    )
    ((image_id, score),) = read_scores(tmp_path / "m.h5")
    expected = np.zeros((640, 640))
    for counts, found, share in zip(
        segments.counts, segments.class_id[:, 0], segments.class_probability[:, 0], strict=True
    ):
        mask = rle.decode(counts, (640, 640))
        assert mask.sum() >= 200
        if found == label and share > 0.1:
            expected[mask] = round(100 * float(share))
    assert image_id == "a"
    assert np.array_equal(score, expected)
    assert 0 < (score > 0).mean() < 1


def test_segment_refuses_weights_of_another_sum(monkeypatch, tmp_path):
    (tmp_path / "sam.pt").write_bytes(b"sam")
    path = str(tmp_path / "sam.pt")
    segment = {"kind": "sam", "weights": path, "precision": "float32"}
    recorded(monkeypatch, "geoloc.pytorch.device.use_threads")
    with pytest.raises(RuntimeError, match="sha256"):
        run_script(
            "segment",
            input={"images": "i"},
            output={"segments": "s"},
            params={
                "segmentation": segment,
                "engine": {},
                "weights": {path: {"sha256": "0", "size": 3}},
            },
        )


def test_what_is_retrieved_goes_where_the_rule_says(monkeypatch, tmp_path):
    fetched = recorded(monkeypatch, "geoloc.corpus.download.download")
    entry = {"url": "https://example.org/w", "size": 3}
    run_script("retrieve_weights", output={"weights": "w.pt"}, params={"entry": entry})
    assert fetched == [{"url": entry["url"], "path": Path("w.pt"), "entry": entry}]
    models = recorded(monkeypatch, "geoloc.image_text.retrieve.retrieve_model")
    run_script("retrieve_model", output={"folder": "m"}, params={"entry": entry})
    (model,) = models
    assert model.pop("load").func.__name__ == "load_clip"
    assert model == {"entry": entry, "folder": Path("m")}
    entry = {"kind": "semantic", "vocabulary": "cityscapes"}
    run_script("retrieve_model", output={"folder": "m"}, params={"entry": entry})
    load = models[1]["load"]
    assert (load.func.__name__, load.keywords) == (
        "load_semantic",
        {"vocabulary_name": "cityscapes"},
    )
    sources = recorded(monkeypatch, "geoloc.corpus.retrieve.retrieve_source")
    entry = {"kind": "k", "path": "p", "images": "i", "table": "t", "retrieve": {"kaggle": "a/b"}}
    run_script("retrieve_source", params={"entry": entry, "name": "x"})
    assert sources == [{"name": "x", "entry": entry}]


def test_the_demo_is_drawn_as_it_is_asked_for(monkeypatch):
    drawn = recorded(monkeypatch, "scenes.world.write_world")
    params = {"seed": 3, "images_per_country": 4, "test_set_images": 5}
    run_script("make_demo_data", output={"folder": "d/geoguessr"}, params=params, threads=2)
    assert drawn == [{"folder": Path("d"), **params, "workers": 2}]
