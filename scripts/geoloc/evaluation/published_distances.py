"""Published distances on public test sets, next to those of a run.

The share of photos within 750 km is not a country accuracy: a neighboring country is often closer
than that, and the other end of a large one is not.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = Path(__file__).parent / "data" / "published_distances.csv"
THIS_RUN = "this run"


def published_test_sets() -> set[str]:
    """Return the test sets that have published distances."""
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        return {row["test_set"] for row in csv.DictReader(file)}


def compare_distances(
    metrics: pd.DataFrame, model_titles: Mapping[str, str], dataset_titles: Mapping[str, str]
) -> pd.DataFrame:
    """Return published distances and those of a run, on the same test sets and by the same metric.

    Args:
        metrics: table of `geoloc.evaluation.metrics.metrics_table`.
        model_titles: title of each model.
        dataset_titles: title of each dataset that models were trained on.

    Returns:
        For each test set that both have: model, trained_on (missing if published), test_set, images
        (number of photos with a place), the shares (0–1) within 1, 25, 200, 750 and 2,500 km
        (missing if not published), distances_to (`places` for published ones), accuracy (of
        countries, missing if published) and source.
    """
    import pandas as pd

    theirs = pd.read_csv(PUBLISHED)
    shared = metrics[metrics.test_set.isin(theirs.test_set)]
    ours = shared.assign(
        model=shared.model.map(model_titles),
        trained_on=shared.dataset.map(dataset_titles),
        images=shared.n_located,
        source=THIS_RUN,
    )
    theirs = theirs[theirs.test_set.isin(shared.test_set)]
    shares = [column for column in theirs if column.startswith("within_")]
    theirs = theirs.assign(distances_to="places")
    columns = [
        "model",
        "trained_on",
        "test_set",
        "images",
        *shares,
        "distances_to",
        "accuracy",
        "source",
    ]
    return pd.concat([theirs.reindex(columns=columns), ours[columns]], ignore_index=True)
