"""What was found and what answers rest on: sections that appear if their tables exist."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PIL import Image

from geoloc.report.tables import Run
from tests.report.small_results import write_results
from tests.report.test_page import cells, page, plain

INFLUENCE = """\
model,dataset,seed,method,group_by,group,images,relevance_share,area_share,ratio,low,high,\
control_share,excess,excess_low,excess_high
cnn,original,42,grad_cam,all,all,20,0.3,0.1,3.0,2.5,3.5,0.1,0.2,0.15,0.25
cnn,original,42,grad_cam,class,pole,9,0.2,0.05,4.0,3.0,5.0,,,,
cnn,original,42,grad_cam,class,rare <thing>,2,0.2,0.01,20.0,,,,,,
cnn,original,42,grad_cam,country,NA,9,0.2,0.05,4.0,3.0,5.0,,,,
cnn,original,42,integrated_gradients,all,all,20,0.3,0.1,3.0,2.5,3.5,0.1,0.2,0.15,0.25
cnn,original,42,integrated_gradients,class,pole,9,0.9,0.05,18.0,3.0,25.0,,,,
cnn,weighted_base,42,grad_cam,all,all,20,0.9,0.1,9.0,8.5,9.5,0.4,0.5,0.45,0.55
cnn,weighted_base,42,grad_cam,class,pole,9,0.9,0.05,18.0,3.0,25.0,,,,
transfer,original,42,grad_cam,all,all,20,0.1,0.1,1.0,0.8,1.2,0.08,0.02,-0.01,0.05
"""
CAUSE = """\
model,dataset,seed,change,fill,images,difference,low,high,p_adjusted
cnn,original,42,removed,black,20,-0.3,-0.4,-0.2,
cnn,original,42,removed_vs_control,black,20,-0.2,-0.3,-0.1,0.001
cnn,original,42,kept_vs_control,black,20,0.1,-0.1,0.3,0.2
transfer,original,42,removed_vs_control,black,20,0.01,-0.02,0.04,0.6
"""
FAITHFULNESS = """\
model,dataset,seed,method,pointing_game,pointing_chance,deletion,deletion_other,insertion,\
insertion_other,completeness_error,similarity_100,similarity_labels,shown
cnn,original,42,grad_cam,0.5,0.1,0.2,0.3,0.6,0.5,,0.1,,True
cnn,original,42,integrated_gradients,0.5,0.1,0.2,0.3,0.6,0.5,0.96,0.1,,False
cnn,weighted_base,42,grad_cam,0.9,0.1,0.2,0.3,0.6,0.5,,0.1,,True
transfer,original,42,grad_cam,0.1,0.1,0.2,0.3,0.6,0.5,,0.1,,True
"""
CLASSES = """\
scores,class,class_index,selected,segments,images,image_share,area_share,area_share_where_found,\
mean_probability,scored_segments,scored_share,mean_score
objects,house,7,False,1050,332,0.88,0.07,0.08,0.99,0,0,
objects,roof,8,True,895,311,0.825,0.015,0.018,0.8,895,1,80.2
"""
FOUND_COUNTRIES = """\
scores,country,images,segments_per_image,scored_share,scored_share_low,scored_share_high,\
common_classes
objects,NA,52,18.6,0.045,0.035,0.054,
objects,all,377,18.6,0.039,0.036,0.042,roof
"""
VISIBLE = """\
scores,dataset,country,images,mean_factor,visible_share
objects,weighted_base,NA,52,0.2,0.1
objects,weighted_base,all,377,0.039,0.04
"""
TEXTS = {
    "influence": INFLUENCE, "cause": CAUSE, "faithfulness": FAITHFULNESS,
    "found_classes": CLASSES, "found_countries": FOUND_COUNTRIES, "found_visible": VISIBLE,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("run") / "small"
    run = write_results(folder)
    files: dict[str, Path] = dict(run.files)
    for name, text in TEXTS.items():
        files[name] = folder / f"{name}_.csv"
        files[name].write_text(text)
    for name in ("explanations/cnn", "found/objects"):
        files[name] = folder / f"{name.replace('/', '_')}.png"
        Image.new("RGB", (40, 20)).save(files[name])
    return dataclasses.replace(run, files=files)


@pytest.fixture(scope="module")
def html(run) -> str:
    return page(run)


def test_the_sentences_count_trusted_maps_and_sure_effects_of_unchanged_images(html):
    text = plain(html)
    assert (
        "Models that were trained on unchanged images: in 1 of 2 trusted combinations of model and "
        "method, scored pixels have more relevance than as many at the places of other images’, "
        "in 0 less; in 1 it can’t be told."
    ) in text
    assert "Removing scored pixels makes the right country less likely" in text
    assert "in 1 of 2 comparisons and more likely in 0; in 1 it can’t be told." in text
    assert "in 0 of 1 comparisons and more likely in 0; in 1 it can’t be told." in text


def test_influence_and_cause_have_the_numbers_of_their_tables(html):
    rows = {(row[0].split(",")[-1].strip(), row[1]): row for row in cells(html, "Relevance (%)<")}
    own = rows["Weighted Base", "Grad-CAM"]
    interval = "+45.0 to +55.0"
    assert own[2:] == ["20", "10.0", "90.0", "40.0", "+50.0", interval, "more than elsewhere"]
    assert any("map not trusted" in row for row in cells(html, "Relevance (%)<"))
    effects = [row[1:] for row in cells(html, "Effect in points")]
    assert ["removed", "black", "20", "−20.0", "−30.0 to −10.0", "0.001"] in effects
    assert len(effects) == 4


def test_a_map_that_is_not_trusted_shows_the_check_that_it_failed(html):
    checks = [[row[1], *row[-3:]] for row in cells(html, "Pointing game (%)")]
    assert checks[1] == ["Grad-CAM", "0.10", "–", "yes"]
    assert checks[2] == ["Integrated gradients", "0.10", "0.96", "no"]


def test_classes_are_told_of_trusted_maps_of_unchanged_images_without_rare_ones(html):
    assert ["pole", "5.00", "20.00", "4.00"] in cells(
        html, 'Class</th><th scope="col" class="num">Area (%)'
    )
    assert "rare" not in html


def test_what_was_found_is_told_with_its_countries(html):
    text = plain(html)
    assert (
        "In 377 images, 18.6 segments an image were found. 1 of the 2 classes that occur are "
        "selected, most often roof. Scored pixels cover 3.9 % of an image (95 % interval 3.6–4.2)."
    ) in text
    assert ["Namibia NA", "52", "18.6", "4.5", "3.5–5.4", "none"] in cells(
        html, "Segments per image"
    )
    assert ["Weighted Base", "377", "3.9", "4.0"] in cells(html, "each dataset leaves")


def test_pictures_are_embedded(html):
    assert html.count("data:image/webp;base64,") == 3


def test_without_the_tables_there_is_no_section(run):
    files = {name: path for name, path in run.files.items() if name not in TEXTS}
    html = page(dataclasses.replace(run, files=files))
    assert 'id="found"' not in html
    assert 'id="explanations"' not in html
