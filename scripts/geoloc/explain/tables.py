"""The tables of explanations, over all rows of Table 1: influence, cause and faithfulness."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from geoloc.errors import InputError
from geoloc.evaluation.comparisons import TAIL, holm
from geoloc.evaluation.intervals import RESAMPLES, wilson_interval
from geoloc.explain.influence import ALL
from geoloc.files import atomic_path
from geoloc.matrix import Row
from geoloc.tables import damaged, read_csv

SHOWN_BELOW = 0.5
"""Largest mean rank correlation of a map with that of the model without its weights, or of the same
network trained on random labels. At 0.5, a quarter of the variance of its ranks (r²) has nothing to
do with what the model learned."""
INCOMPLETE_ABOVE = 0.5
"""Largest median completeness error. Beyond it, integrated gradients miss more than half of the
difference of scores that they should explain: too few steps."""
LEAST_IMAGES = 5  # of a group with an interval
LABELS = "similarity_labels"  # to the maps of a network that was trained on random labels
SIMILARITIES = tuple(f"similarity_{stage}" for stage in (25, 50, 75, 100))
INFLUENCE = ["model", "dataset", "seed", "method", "group_by", "group", "images",
             "relevance_share", "area_share", "ratio", "low", "high",
             "control_share", "excess", "excess_low", "excess_high"]  # fmt: skip
CAUSE = ["model", "dataset", "seed", "change", "fill", "images", "probability_before",
         "probability_after", "difference", "low", "high", "p_value", "p_adjusted",
         "accuracy_before", "accuracy_after"]  # fmt: skip
FAITHFULNESS = ["model", "dataset", "seed", "method", "images", "pointing_game", "pointing_low",
                "pointing_high", "pointing_chance", "checked_images", "deletion", "deletion_other",
                "insertion", "insertion_other", "completeness_error", *SIMILARITIES,
                LABELS, "shown"]  # fmt: skip
CONTRASTS = {
    "removed_vs_control": ("removed_control", "removed"),
    "kept_vs_control": ("kept_control", "kept"),
}
"""Differences that are tested: the control, and what is compared with it."""

MEASURED = ("pointing_game", "deletion", "deletion_other", "insertion", "insertion_other",
            "completeness_error", "control", *SIMILARITIES, LABELS)  # fmt: skip
"""Columns of the rows' tables that may be empty."""
SHARES = ("relevance", "area", "control", "probability", "probability_before", "probability_after")
"""Columns of the rows' tables that are shares."""
ROUNDING = 1e-3  # of sums in float32

Rows = Sequence[tuple[str, str, str, pd.DataFrame]]
"""Model, dataset, seed and table of each row."""


def influence(rows: Rows, seed: int) -> pd.DataFrame:
    """Compare the share of relevance on scored pixels with their share of the area, and with the
    share where other images have their scored pixels.

    Groups are all images, the images of a country, and for a class of objects the images that have
    it, with the pixels of that class. `ratio` is the quotient of the two shares: above 1, scored
    pixels have more relevance than their area, which their place in the image alone can explain.
    `excess` is the mean difference of the relevance of scored pixels and of as many at the places
    of other images' (`control_share`); images without such a control are left out, and classes
    have none. `low` and `high` are 95 % intervals, a bootstrap over images; groups of fewer than 5
    images have none.

    Args:
        rows: tables of `geoloc.explain.influence.influence_table`.
        seed: of the bootstrap.

    Returns:
        The columns INFLUENCE, with a row for each method and group of each row of Table 1.

    Raises:
        InputError: if a table has no control, as those of earlier versions.
    """
    found = []
    for *row, table in rows:
        if "control" not in table:
            raise InputError(
                f"the influence of {'/'.join(row)} has no column control; delete the run's folder "
                "explanations and run snakemake again"
            )
        for method, part in table.groupby("method"):
            for group_by, group, images in _groups(part):
                shares = images[["relevance", "area"]].mean()
                low, high = _interval(images[["relevance", "area"]].to_numpy(), _ratio, seed)
                found.append([*row, method, group_by, group, len(images), *shares,
                              float(_ratio(shares.to_numpy())), low, high,
                              *_excess(images, seed)])  # fmt: skip
    return pd.DataFrame(found, columns=INFLUENCE)


def _excess(images: pd.DataFrame, seed: int) -> list[float]:
    """Return the last four values of INFLUENCE; NaN without a control."""
    images = images[images["control"].notna()]
    differences = (images["relevance"] - images["control"]).to_numpy(float)
    low, high = _interval(differences[:, None], lambda means: means[..., 0], seed)
    return [images["control"].mean(), images["relevance"].mean() - images["control"].mean(),
            low, high]  # fmt: skip


def _groups(table: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    whole = table[table["class"] == ALL]
    yield "all", "all", whole
    for name, part in table[table["class"] != ALL].groupby("class"):
        yield "class", str(name), part
    for name, part in whole.groupby("label"):
        yield "country", str(name), part


def _ratio(shares: np.ndarray) -> np.ndarray:
    """Divide relevance by area, (…, 2) to (…); NaN without area."""
    relevance, area = shares[..., 0], shares[..., 1]
    return np.divide(relevance, area, out=np.full(np.shape(area), np.nan), where=area > 0)


def _interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int
) -> tuple[float, float]:
    """Bootstrap a statistic of the means of columns (n, k) over rows.

    Returns:
        Its 95 % interval; NaN for few rows.
    """
    n = len(values)
    if n < LEAST_IMAGES:
        return np.nan, np.nan
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    low, high = np.nanquantile(statistic(drawn @ values / n), [TAIL, 1 - TAIL])
    return float(low), float(high)


def cause(rows: Rows, seed: int) -> pd.DataFrame:
    """Summarize how answers change if scored pixels are removed, kept or swapped.

    A row for each change and fill (see `geoloc.explain.changes.measure_changes`), and for each of
    CONTRASTS. `difference` is the mean change of the probability of the image's country, and in a
    contrast that of the change less that of its control on the same images, with a bootstrap over
    images. `p_value` is of a sign-flip permutation test of a contrast, two-sided; `p_adjusted` is
    corrected for all contrasts of the table (Holm).

    Args:
        rows: tables of `measure_changes`.
        seed: of bootstrap and test.

    Returns:
        The columns CAUSE.

    Raises:
        InputError: if a change and its control are not of the same images.
    """
    found = [
        [*row, change, fill, *values]
        for *row, table in rows
        for fill, part in table.groupby("fill", sort=False)
        for change, values in _effects(part, seed)
    ]
    table = pd.DataFrame(found, columns=[name for name in CAUSE if name != "p_adjusted"])
    table["p_adjusted"] = holm(table["p_value"].to_numpy(float))
    return table[CAUSE]


def _effects(table: pd.DataFrame, seed: int) -> Iterator[tuple[str, list[float]]]:
    """Yield the values of CAUSE of each change and contrast of a fill, from `images` on."""
    changes = {name: part.set_index("image_id") for name, part in table.groupby("change")}
    for change in table["change"].unique():
        part = changes[change]
        columns = [
            part[f"{name}_{when}"]
            for name in ("probability", "right")
            for when in ("before", "after")
        ]
        yield change, _effect(*columns, seed, tested=False)
    for contrast, (control, change) in CONTRASTS.items():
        first, second = changes[control], changes[change]
        if not first.index.equals(second.index):
            raise InputError(
                f"{change} and {control} are not of the same images; delete the run's folder "
                "explanations and run snakemake again"
            )
        columns = [
            each[f"{name}_after"] for name in ("probability", "right") for each in (first, second)
        ]
        yield contrast, _effect(*columns, seed, tested=True)


def _effect(
    before: pd.Series,
    after: pd.Series,
    right_before: pd.Series,
    right_after: pd.Series,
    seed: int,
    tested: bool,
) -> list[float]:
    change = after.to_numpy(float) - before.to_numpy(float)
    low, high = _interval(change[:, None], lambda means: means[..., 0], seed)
    p_value = _sign_flip_test(change, seed) if tested else np.nan
    return [len(change), before.mean(), after.mean(), change.mean(), low, high, p_value,
            right_before.mean(), right_after.mean()]  # fmt: skip


def _sign_flip_test(differences: np.ndarray, seed: int) -> float:
    """Return the two-sided p-value of a mean difference of zero; exact for few images."""
    result = permutation_test(
        (differences,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def faithfulness(rows: Rows) -> pd.DataFrame:
    """Summarize whether maps can be trusted.

    Args:
        rows: tables with the columns `geoloc.explain.row.CHECK_COLUMNS`.

    Returns:
        The columns FAITHFULNESS, with a row for each method of each row of Table 1. `shown` says
        whether maps passed: they depend on the model's weights (SHOWN_BELOW), on the labels if that
        was tried, and add up if they should (INCOMPLETE_ABOVE).
    """
    found = []
    for *row, table in rows:
        for method, part in table.groupby("method"):
            pointed = part[part["pointing_game"].notna()]
            hits, checked = int(pointed["pointing_game"].sum()), part[part["deletion"].notna()]
            share = hits / len(pointed) if len(pointed) else np.nan
            low, high = wilson_interval(hits, len(pointed)) if len(pointed) else (np.nan, np.nan)
            similar = checked[list(SIMILARITIES)].mean()
            error = checked["completeness_error"].dropna().median()
            misled = checked[LABELS].mean()
            found.append(
                [*row, method, len(part), share, low, high, pointed["area"].mean(), len(checked),
                 *checked[["deletion", "deletion_other", "insertion", "insertion_other"]].mean(),
                 error, *similar, misled,
                 not why_not_shown(similar.iloc[-1], misled, error)]
            )  # fmt: skip
    return pd.DataFrame(found, columns=FAITHFULNESS)


def why_not_shown(similarity: float, misled: float, completeness_error: float) -> str:
    """Return which check maps of a method failed, as a clause; empty if they may be shown.

    Args:
        similarity: to maps of the model with random weights.
        misled: to those of the network trained on random labels; NaN if not tried.
        completeness_error: how far maps are from adding up; NaN if they need not.
    """
    if np.isnan(similarity):
        return "it was not checked"
    if similarity >= SHOWN_BELOW or misled >= SHOWN_BELOW:
        return "the map hardly depends on what the model learned"
    if completeness_error > INCOMPLETE_ABOVE:
        return "the map does not add up to the score that it explains (raise explain.steps)"
    return ""


def write_row_table(path: str | Path, table: pd.DataFrame, row: Row) -> None:
    """Write a table of `geoloc.explain.row.Explained`, with the row of Table 1 that it is of."""
    with atomic_path(path) as temporary:
        table.assign(row=row.path).to_csv(temporary, index=False)


def read_row_tables(rows: Sequence[Sequence[str]], paths: Sequence[str]) -> Rows:
    """Read a kind of table of every row, as `scripts/explain.py` wrote it.

    Args:
        rows: model, dataset and seed of each.
        paths: its table, see `write_row_table`; those of earlier versions name no row.

    Returns:
        Model, dataset, seed and table of each row. `NA` is Namibia, and an empty field is missing
        in the columns of numbers MEASURED only.

    Raises:
        FileError: if a table is damaged or of another row.
    """
    return [(*row, _read(path, "/".join(row))) for row, path in zip(rows, paths, strict=True)]


def _read(path: str, row: str) -> pd.DataFrame:
    table = read_csv(path, na_values={name: [""] for name in MEASURED})
    if others := set(table.pop("row")) - {row} if "row" in table else ():
        raise damaged(path, f"it is of the row {min(others)}")
    for name in filter(table.columns.__contains__, SHARES):
        values = pd.to_numeric(table[name], errors="coerce")
        known = values.between(-ROUNDING, 1 + ROUNDING) | (values.isna() & (name in MEASURED))
        if not known.all():
            line = int((~known).to_numpy().argmax())
            raise damaged(path, f"{name} in line {line + 2} is {table[name][line]!r}, not in 0–1")
    return table
