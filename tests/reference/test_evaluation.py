"""Leakage of real photographs, and the study's classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geoloc.evaluation.study import COUNTRIES, other_classes
from geoloc.images import Preparation, read_file
from geoloc.report.curves import PUBLISHED
from geoloc.segmentation.scoring import read_selected
from tests.conftest import ROOT
from tests.evaluation.test_leakage import (
    leakage_of_pairs,
    mirrored,
    unchanged,
)


@pytest.mark.parametrize(("test", "count"), [(unchanged, 31), (mirrored, 8)])
def test_the_same_photographs_are_found_cropped_and_whole(reference, tmp_path, test, count):
    paths = sorted((reference / "photos").glob("*.jpg"))[:count]
    pictures = {path.name: read_file(path) for path in paths}
    table = leakage_of_pairs(tmp_path, pictures, Preparation("center", 640), test)
    assert len(table) == count
    assert table.found.all()
    assert table.bits.max() <= 6
    assert (table.mirrored == (test is mirrored)).all()


def test_countries_and_class_list_are_the_study_s(reference):
    selected = read_selected(ROOT / "config/selected_classes.txt")
    listed = (reference / "data/kept_countries.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert sorted(line.split(",")[0] for line in listed) == list(COUNTRIES)
    assert other_classes(COUNTRIES, [selected]) == []
    assert other_classes(COUNTRIES[:3], [selected]) == ["3 countries that are not the study's 73"]
    edited = np.append(selected[1:], np.int16(999))
    assert other_classes(COUNTRIES, [edited]) == ["a class list that is not the study's"]


def test_the_published_training_histories_are_those_of_the_notebooks(reference):
    """Every epoch of the six trainings, as the notebooks printed it."""
    models = {"cnn": "Convolutional Neural Network", "tl": "Transfer Learning"}
    printed = pd.read_csv(reference / "data/paper_training_history.csv", dtype=str)
    ours = pd.read_csv(PUBLISHED, dtype=str)
    assert len(ours) == 150
    names = printed["model"].str.partition("_")
    assert ours["model"].tolist() == names[0].map(models).tolist()
    datasets = names[2].str.replace("_", " ").str.title()
    assert ours["trained_on"].tolist() == datasets.tolist()
    columns = ["epoch", "accuracy", "val_accuracy", "loss", "val_loss"]
    assert ours[columns].equals(printed[columns])
