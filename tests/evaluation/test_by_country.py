"""Accuracies of countries, and confusions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geoloc.evaluation.by_country import accuracy_by_country, confusion, wilson
from geoloc.evaluation.intervals import wilson_interval


def frame(answers: list[str | None]) -> pd.DataFrame:
    labels = ["FR", "FR", "NA", "NA"]
    return pd.DataFrame({"test_set": "original", "label": labels, "country_1": answers})


def test_the_interval_is_wilsons():
    counts = [(0, 3), (3, 3), (40, 161)]
    found = wilson(*np.array(counts).T).T
    assert found == pytest.approx(np.array([wilson_interval(*pair) for pair in counts]))


def test_seeds_have_lines_of_their_own_before_their_mean():
    runs = [
        ("cnn", "original", "1", frame(["FR", "FR", "FR", "NA"])),
        ("cnn", "original", "2", frame(["FR", "NA", "FR", "NA"])),
        ("clip", "default", "any", frame(["FR", "FR", "NA", "NA"])),
    ]
    found = accuracy_by_country(runs)
    assert found.seed.tolist() == ["1", "1", "2", "2", "mean", "mean", "any", "any"]
    mean = found[found.seed == "mean"].set_index("country")
    assert mean.loc["FR", ["n", "right", "accuracy"]].tolist() == [2, 1.5, 0.75]
    assert tuple(mean.loc["FR", ["low", "high"]]) == pytest.approx(tuple(wilson([1.5], [2])[:, 0]))
    assert found[found.country == "NA"].accuracy.tolist() == [0.5, 0.5, 0.5, 1.0]


def test_confusions_count_images_and_answers_that_name_no_country():
    found = confusion([("places", "default", "any", frame(["FR", "NA", None, "NA"]))])
    counted = {(row.label, row.answer): row.n for row in found.itertuples()}
    assert counted == {("FR", "FR"): 1, ("FR", "NA"): 1, ("NA", ""): 1, ("NA", "NA"): 1}
