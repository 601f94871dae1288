"""Check predictions: each test image of each test set once, as in the index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from geoloc.evaluation.read_predictions import check_index, read_predictions
from geoloc.files import file_hash
from geoloc.matrix import rows, street_test_sets, titles_of_test_sets
from geoloc.verify.run import AGAIN, Check, Finding, Run, failure, some
from geoloc.verify.shards import PACKED

PREDICTIONS = "predictions"


def check_predictions(run: Run) -> Check:
    """Check that every row of Table 1 has predictions of exactly the packed test images.

    Readable tables are kept for later checks.
    """
    every, packed = rows(run.config), run.need(PACKED)
    classes, test_sets = run.need("classes"), titles_of_test_sets(run.config)
    frames: dict = {}
    hashes: dict[str, str] = {}
    for row in every:
        name = f"predictions/{row.path}.parquet"
        path = run.folder / name
        try:
            shown = list(street_test_sets(run.config, row.dataset))
            (frames[row],) = read_predictions([path], classes, [shown], test_sets)
            if check_index(frames[row], path, packed):
                yield from missing(name, frames[row], packed)
            first = hashes.setdefault(file_hash(path), name)
            if first != name:
                yield Finding(name, f"has the very content of {first}; {AGAIN}")
        except Exception as error:
            yield failure(name, error)
    run.tables[PREDICTIONS] = frames
    yield from of_no_row(run.folder / "predictions", {f"{row.path}.parquet" for row in every})
    test = packed[packed.split == "test"]
    return f"{len(test):,} test images of each of {len(frames)} models"


def missing(name: str, frame: pd.DataFrame, packed: pd.DataFrame) -> Iterator[Finding]:
    """Yield a finding if test images are missing from a table."""
    test = packed.image_id[packed.split == "test"]
    lacking = test[~test.isin(frame.image_id)]
    yield Finding(name, f"has no prediction of {some(lacking)}, test images of the index; {AGAIN}")


def of_no_row(folder: Path, known: set[str]) -> Iterator[Finding]:
    """Yield tables of models that are not in the configuration."""
    for path in sorted(folder.rglob("*.parquet")):
        name = path.relative_to(folder).as_posix()
        if name not in known and not path.name.startswith("."):
            problem = "is of no row of Table 1; delete it"
            yield Finding(f"predictions/{name}", problem, warning=True)
