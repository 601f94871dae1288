"""What was found, against segments that are counted pixel by pixel."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import bootstrap

from geoloc.evaluation.examples import Naming, shown_regions
from geoloc.evaluation.found import (
    Found,
    classes_table,
    countries_table,
    describe,
    histogram_table,
    visible_table,
)
from geoloc.evaluation.found_examples import Examples, cut_out, examples_figure
from geoloc.segmentation import rle
from geoloc.segmentation.scoring import score_map
from geoloc.stores import StoreError, write_images, write_scores, write_segments
from geoloc.types import SCORE_SIZE, Segments
from geoloc.weighting import View
from tests.script_runs import run_script

NAMES = ("pole", "sky", "sign")
NAMING = Naming(NAMES, np.array([0, 2]), 0.10)
# Image: left, top, width, height of each segment, and its classes with their probabilities.
IMAGES = {
    "FR": {
        "a": [
            ((0, 0, 320, 640), {0: 0.9}),
            ((160, 0, 320, 640), {0: 0.5, 1: 0.4}),
            ((0, 0, 640, 320), {1: 0.8}),
        ],
        "b": [((0, 0, 64, 64), {1: 0.6, 2: 0.3}), ((64, 0, 64, 64), {1: 0.94, 2: 0.06})],
    },
    "NA": {"c": [((0, 0, 640, 640), {2: 0.7})], "d": []},
}


def segments_of(image_id: str, rows: list) -> Segments:
    size, m = (SCORE_SIZE, SCORE_SIZE), len(rows)
    class_id, probability = np.full((m, 10), -1, np.int16), np.zeros((m, 10), np.float32)
    counts = []
    for row, ((left, top, width, height), classes) in enumerate(rows):
        counts.append(rle.encode(np.ones((width, height), bool), left, top, size))
        class_id[row, : len(classes)] = list(classes)
        probability[row, : len(classes)] = list(classes.values())
    return Segments(
        image_id, size, np.array([r[0] for r in rows], np.int32).reshape(-1, 4),
        np.array([rle.area(c) for c in counts], np.int32), np.ones(m, np.float32),
        np.ones(m, np.float32), counts, class_id, probability,
    )  # fmt: skip


def write_shard(folder: Path, country: str, images: dict) -> tuple[str, Path, Path, Path]:
    paths = [folder / kind / country / "0000.h5" for kind in ("images", "segments", "scores")]
    for path in paths:
        path.parent.mkdir(parents=True)
    buffer = io.BytesIO()
    Image.new("RGB", (SCORE_SIZE, SCORE_SIZE), (200, 100, 50)).save(buffer, "PNG")
    place = {"latitude": 0.0, "longitude": 0.0, "split": "train", "source": "s"}
    write_images(paths[0], [{"image_id": i, "image": buffer.getvalue()} | place for i in images])
    found = [segments_of(*item) for item in images.items()]
    write_segments(paths[1], found)
    write_scores(paths[2], ((s.image_id, score_map(s, NAMING.selected)) for s in found))
    return country, *paths


@pytest.fixture
def shards(tmp_path):
    return [write_shard(tmp_path, country, images) for country, images in IMAGES.items()]


@pytest.fixture
def found(shards):
    found = Found(NAMING)
    describe(shards, found)
    return found


def test_classes_are_counted_by_what_scores_and_overlaps_count_once(found):
    table = classes_table(found).set_index("class")
    assert table["segments"].to_dict() == {"pole": 2, "sky": 2, "sign": 2}
    assert table["images"].to_dict() == {"pole": 1, "sky": 2, "sign": 2}
    assert table["selected"].to_dict() == {"pole": True, "sky": False, "sign": True}
    # Of four images, poles cover 3/4 of one.
    assert table["area_share"]["pole"] == pytest.approx(0.75 / 4)
    assert table["area_share_where_found"]["pole"] == pytest.approx(0.75)
    assert table["image_share"]["pole"] == 0.25
    assert table["area_share"]["sky"] == pytest.approx((0.5 + 0.01) / 4)
    assert table["mean_probability"]["sign"] == pytest.approx((0.3 + 0.7) / 2)
    assert table["mean_score"]["pole"] == 70
    assert table["scored_share"].to_dict() == {"pole": 1, "sky": 0, "sign": 1}
    assert np.isnan(table["mean_score"]["sky"])


def test_countries_have_their_means_and_classes(found):
    table = countries_table(found).set_index("country")
    assert table["images"].to_dict() == {"FR": 2, "NA": 2, "all": 4}
    assert table["segments_per_image"].to_dict() == {"FR": 2.5, "NA": 0.5, "all": 1.5}
    assert table["scored_share"]["FR"] == pytest.approx((0.75 + 0.01) / 2)
    assert table["mean_score"]["NA"] == 35
    assert table["mean_score"]["FR"] == pytest.approx((0.5 * 90 + 0.25 * 50 + 0.01 * 30) / 2)
    assert table["common_classes"].to_dict() == {
        "FR": "pole; sign",
        "NA": "sign",
        "all": "sign; pole",
    }


def test_the_three_classes_of_most_images_are_named():
    found = Found(Naming(("pole", "sky", "sign", "hydrant"), np.arange(4), 0.10))
    found.images["FR"] = [(4, 0.5, 20.0)] * 9
    found.images_with["FR"][:4] = [2, 9, 1, 5]
    assert countries_table(found)["common_classes"].tolist() == ["sky; hydrant; pole"] * 2


def test_an_interval_is_about_that_of_a_bootstrap():
    found, rng = Found(NAMING), np.random.default_rng(0)
    values = rng.gamma(2, size=(400, 3))
    found.images["FR"] = values.tolist()
    row = countries_table(found).iloc[0]
    expected = bootstrap([values[:, 2]], np.mean, rng=rng).confidence_interval
    assert row["mean_score_low"] == pytest.approx(expected.low, abs=0.03)
    assert row["mean_score_high"] == pytest.approx(expected.high, abs=0.03)
    found.images["FR"] = [(1, 0.5, 3.0)]
    assert np.isnan(countries_table(found)["mean_score_low"][0])


def test_what_stays_visible_is_the_mean_of_the_factors_of_all_pixels(found):
    views = {
        "base": View(curve="linear", scores="o"),
        "inverted": View(curve="linear", scores="o", invert=True),
        "other": View(curve="linear", scores="o", scores_of="other_image"),
    }
    table = visible_table(histogram_table(found), views).set_index(["dataset", "country"])
    means, half = {}, {}
    for country, images in IMAGES.items():
        maps = [score_map(segments_of(*item), NAMING.selected) for item in images.items()]
        means[country], half[country] = np.mean(maps) / 100, np.mean(np.array(maps) >= 50)
    for country in IMAGES:
        assert table["mean_factor"]["base", country] == pytest.approx(means[country])
        assert table["visible_share"]["base", country] == pytest.approx(half[country])
        assert table["mean_factor"]["inverted", country] == pytest.approx(1 - means[country])
    assert table["mean_factor"]["base", "all"] == pytest.approx(np.mean(list(means.values())))
    assert table["images"]["base", "all"] == 4
    assert table.loc["other"].index.tolist() == ["all"]


def test_scores_of_other_images_are_refused(shards):
    country, images, segments, scores = shards[0]
    for ids in ("a", "ax"):
        write_scores(scores, [(i, np.zeros((SCORE_SIZE, SCORE_SIZE), np.uint8)) for i in ids])
        with pytest.raises(StoreError, match="belongs to other images"):
            describe([(country, images, segments, scores)], Found(NAMING))


def test_a_class_outside_the_vocabulary_is_refused(shards):
    with pytest.raises(ValueError, match="the vocabulary has 2 classes"):
        describe(shards, Found(Naming(NAMES[:2], np.array([0]), 0.10)))


def test_extremes_are_of_different_images_and_do_not_depend_on_the_order_of_shards(shards):
    kept = []
    for order in (shards, shards[::-1]):
        examples = Examples(1)
        describe(order, Found(NAMING, examples))
        kept.append(
            [
                [(c.image_id, c.row) for c in side[class_index]]
                for side in (examples.highest, examples.lowest)
                for class_index in (0, 2)
            ]
        )
    assert kept[0] == kept[1] == [[("a", 0)], [("c", 0)], [("a", 1)], [("b", 0)]]


def test_the_figure_names_classes_and_probabilities(shards):
    examples = Examples(2)
    describe(shards, Found(NAMING, examples))
    figure = examples_figure(examples, NAMES)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in texts if text in NAMES] == ["pole", "sign"]
    assert [text for text in texts if "%" in text] == [
        "90 %",
        "50 %",
        "70 %",
        "30 %",
        "30 %",
        "70 %",
    ]


def test_a_figure_without_segments_says_so():
    figure = examples_figure(Examples(), NAMES)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no segment scores"]


def test_what_is_around_a_segment_is_dimmed(shards):
    examples = Examples(1)
    describe(shards[:1], Found(NAMING, examples))
    image = np.full((SCORE_SIZE, SCORE_SIZE, 3), 200, np.uint8)
    values = set(np.unique(cut_out(image, examples.highest[2][0]))) - {255}
    assert {70, 200} <= values


def test_regions_of_fig_2_are_the_best_and_the_largest_others():
    rows = [((0, 0, 10, 10), {1: 0.9}), ((0, 0, 20, 20), {1: 0.8}), ((0, 0, 5, 5), {0: 0.4}),
            ((0, 0, 9, 9), {2: 0.6}), ((0, 0, 9, 9), {})]  # fmt: skip
    regions = shown_regions(segments_of("a", rows), NAMING, scored=1, others=1)
    assert [(r.name, r.score, r.mask.sum()) for r in regions] == [("sky", 0, 400), ("sign", 60, 81)]
    every = shown_regions(segments_of("a", rows), NAMING)
    assert [r.name for r in every] == ["", "sky", "sky", "pole", "sign"]


def test_namibia_stays_a_country_and_every_dataset_has_its_own_scores(shards, tmp_path):
    kinds = zip(
        ("images", "segments", "scores"), zip(*[s[1:] for s in shards], strict=True), strict=True
    )
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    (tmp_path / "classes.txt").write_text("pole\nsign\n")
    parts = {name: tmp_path / f"{name}.csv" for name in ("classes", "countries", "histogram")}
    run_script(
        "describe_segments",
        input={name: list(paths) for name, paths in kinds} | {"classes": tmp_path / "classes.txt"},
        output=parts | {"figure": tmp_path / "e.jpg", "objects": tmp_path / "objects.parquet"},
        params={"ambiguous_classes": "first_meaning", "vocabulary": str(tmp_path / "names.txt"),
                "minimum": 0.1, "classes": 2, "examples": 3},
        wildcards={"scores": "objects"},
    )  # fmt: skip
    objects = pd.read_parquet(tmp_path / "objects.parquet")
    assert objects.values.tolist() == [
        ["a", 0, 2, 90], ["a", 1, 1, 0], ["b", 1, 1, 0], ["b", 2, 1, 30], ["c", 2, 1, 70],
    ]  # fmt: skip
    with Image.open(tmp_path / "e.jpg") as image:
        assert image.format == "JPEG"
    tables = {name: tmp_path / f"found_{name}.csv" for name in ("classes", "countries", "visible")}
    own, other = ({"curve": "linear", "scores": name} for name in ("objects", "more"))
    run_script(
        "found",
        input={
            "classes": [parts["classes"]] * 2,
            "countries": [parts["countries"]] * 2,
            "histograms": [parts["histogram"]] * 2,
        },
        output=tables,
        params={"scores": ["objects", "more"], "views": {"base": own, "odd": other}},
    )
    read = {n: pd.read_csv(p, keep_default_na=False, na_values=[""]) for n, p in tables.items()}
    assert len(read["classes"]) == 2 * 3
    assert read["countries"]["country"].tolist() == ["FR", "NA", "all"] * 2
    visible = read["visible"]
    assert visible.groupby(["scores", "dataset"]).size().to_dict() == {
        ("objects", "base"): 3,
        ("more", "odd"): 3,
    }
    assert visible[visible.country == "NA"]["mean_factor"].tolist() == [0.35, 0.35]


def test_score_maps_of_nothing_are_a_warning(shards, caplog):
    describe(shards, Found(NAMING))
    assert "none of" not in caplog.text
    describe(shards, Found(Naming(NAMES, NAMING.selected, 1.0)))
    assert re.search(r"none of \d+ segments scores, .* class list and minimum fit", caplog.text)
