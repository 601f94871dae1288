"""Two finished runs next to each other: what other data, another split or another model change.

Images that both runs tested are compared in pairs. All test images of a run that another run did
not test are compared as groups, so a difference may also come from the images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import pandas as pd

from geoloc.errors import InputError
from geoloc.evaluation.answers import COLUMNS, Answer
from geoloc.evaluation.comparisons import (
    Estimate,
    difference_of_groups,
    holm,
    paired_difference,
)
from geoloc.evaluation.evidence import UNCHANGED, Evidence

FAMILIES = ("same_images", "own_images")
SHOWN_UNCHANGED = "unchanged"  # of datasets that show images unchanged, and of photos


@dataclass(frozen=True)
class Compared:
    """A run by its name, and its predictions."""

    name: str
    evidence: Evidence

    def views(self) -> dict[str, list[str]]:
        """Return test sets by how they show images; unchanged street images and photos are one
        view."""
        found: dict[str, list[str]] = {}
        for test_set in self.evidence.images:
            shown = self.evidence.datasets.get(test_set, UNCHANGED)
            view = SHOWN_UNCHANGED if shown == UNCHANGED else test_set
            found.setdefault(view, []).append(test_set)
        return found

    def images(self, view: str) -> pd.DataFrame:
        """Return source, label and test set of the images of a view, by image id."""
        parts = [self.evidence.images[t].assign(test_set=t) for t in self.views()[view]]
        table = pd.concat(parts)
        return table[~table.index.duplicated()]

    def right(self, row: tuple[str, str], images: pd.DataFrame) -> pd.DataFrame | None:
        """Return the correctness (bool) of a row by image id and seed; None if it was not tested on
        them."""
        parts = []
        for test_set, part in images.groupby("test_set", sort=False):
            found = self.evidence.right(*row, test_set)
            if found is None or not part.index.isin(found.index).all():
                return None
            parts.append(found.loc[part.index])
        return pd.concat(parts)


def compare_runs(first: Compared, second: Compared) -> pd.DataFrame:
    """Compare the rows of Table 1 that two runs have in common.

    Rows are those of the same model and training dataset, by name. Images are the same if source
    and path are, also if they are street images of one run and a test set of the other.

    Returns:
        Columns `COLUMNS` of the answers of a run; a positive `estimate` means that the first run is
        more accurate. `p_adjusted` is corrected within each of the `FAMILIES` (Holm 1979).

    Raises:
        InputError: if the runs have no row, or no way to show images, in common, or give an image
            different countries.
    """
    rows = [row for row in first.evidence.rows() if row in second.evidence.rows()]
    views = [view for view in first.views() if view in second.views()]
    if not rows or not views:
        raise InputError(
            f"{first.name} and {second.name} have no {'test set' if rows else 'row of Table 1'} in "
            "common; models, datasets and test sets are the same if their names are"
        )
    found = []
    for family, ask in zip(FAMILIES, (_same_images, _own_images), strict=True):
        answers = [a for view in views for a in ask(first, second, rows, view)]
        adjusted = holm([estimate.p_value for _, _, estimate in answers])
        found += [
            {
                "key": f"{family}/{key}",
                "family": family,
                "question": question,
                **asdict(estimate),
                "p_adjusted": float(p),
            }
            for (key, question, estimate), p in zip(answers, adjusted, strict=True)
        ]
    return pd.DataFrame(found, columns=list(COLUMNS))


def _same_images(
    first: Compared, second: Compared, rows: list[tuple[str, str]], view: str
) -> Iterator[Answer]:
    """Pairs of answers for the images that both runs tested, by test set and source."""
    ours, theirs = first.images(view), second.images(view)
    both = ours.index.intersection(theirs.index)
    ours, theirs = ours.loc[both], theirs.loc[both]
    if (other := ours["label"] != theirs["label"]).any():
        image = both[other][0]
        raise InputError(
            f"{image} is in {ours.label[image]} in {first.name}, but in {theirs.label[image]} in "
            f"{second.name}, one of {int(other.sum())}; compare runs with the same geocoder"
        )
    groups = [
        *ours.groupby([ours["test_set"], theirs["test_set"]], sort=False),
        *ours.groupby([ours["test_set"], theirs["test_set"], ours["source"]], sort=False),
    ]
    seen: list[pd.Index] = []
    for (mine, other, *source), part in groups:
        if any(part.index.equals(images) for images in seen):
            continue  # of the only source
        seen.append(part.index)
        what = images_in_words(first, second, mine, other, *source)
        for row in rows:
            right = first.right(row, part), second.right(row, theirs.loc[part.index])
            if right[0] is not None and right[1] is not None:
                estimate = _paired(*right, first.evidence)
                question = f"{_row(first, row)} than in {second.name} on {what} that both tested?"
                yield "/".join([*row, mine, other, *source]), question, estimate


def _own_images(
    first: Compared, second: Compared, rows: list[tuple[str, str]], view: str
) -> Iterator[Answer]:
    """All test images of each run, where these are not the same."""
    for test_set in first.views()[view]:
        if test_set not in second.views()[view]:
            continue
        ours, theirs = (run.images(view) for run in (first, second))
        ours, theirs = (table[table["test_set"] == test_set] for table in (ours, theirs))
        if set(ours.index) == set(theirs.index):
            continue
        for row in rows:
            right = first.right(row, ours), second.right(row, theirs)
            if right[0] is not None and right[1] is not None:
                evidence = first.evidence
                authors = second.evidence.authors | evidence.authors
                estimate = difference_of_groups(*_same_seeds(*right), authors, evidence.seed)
                question = (
                    f"{_row(first, row)} on its own test images than in {second.name} on its own: "
                    f"{evidence.test_set(test_set)}?"
                )
                yield "/".join([*row, test_set]), question, estimate


def _row(run: Compared, row: tuple[str, str]) -> str:
    """The start of a question about a row."""
    model, dataset = run.evidence.model(row[0]), run.evidence.dataset(row[1])
    return f"Is {model} ({dataset}) more accurate in {run.name}"


def images_in_words(
    first: Compared, second: Compared, mine: str, other: str = "", source: str = ""
) -> str:
    """Name a group of images: the test sets that they are of in both runs, and their source."""
    ours = first.evidence.test_set(mine)
    shown = ours if other in ("", mine) else f"{ours} ({second.evidence.test_set(other)} there)"
    return shown + (f", from {source}," if source else "")


def _same_seeds(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both with the seeds that both have, if both have several."""
    if first.shape[1] == 1 or second.shape[1] == 1:
        return first, second
    common = [seed for seed in first if seed in set(second)]
    if not common:
        raise InputError(
            f"the runs have no seed in common ({', '.join(first)}; {', '.join(second)})"
        )
    return first[common], second[common]


def _paired(first: pd.DataFrame, second: pd.DataFrame, evidence: Evidence) -> Estimate:
    return paired_difference(*_same_seeds(first, second), evidence.authors, evidence.seed)
