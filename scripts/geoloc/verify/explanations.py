"""Explanations: maps of test images of the index, and the tables that are made of them."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from geoloc.explain.tables import cause, faithfulness, influence, read_row_tables
from geoloc.matrix import Row, explained_rows
from geoloc.stores import check_store
from geoloc.verify.results import compare_numbers
from geoloc.verify.run import AGAIN, Check, Finding, Run, failure, some
from geoloc.verify.shards import PACKED

FOLDER = "explanations"
TABLES = {"influence": "influence", "cause": "changes", "faithfulness": "checks"}
"""Tables of the run by the kind of table that each row has for it."""


def check_explanations(run: Run) -> Check:
    """Check that each explained row has maps of test images, and that the tables are theirs."""
    every = explained_rows(run.config)
    if not every:
        return "none"
    test = run.need(PACKED)
    test = test[(test.split == "test") & (test.collection == "street")].set_index("image_id")
    images = 0
    for row in every:
        name = f"{FOLDER}/{row.path}.h5"
        try:
            columns = check_store(run.folder / name, "explanations", run.digests)
            images += len(columns["image_id"])
            for problem in mistakes(run, row, columns, test):
                yield Finding(name, f"{problem}; {AGAIN}")
        except Exception as error:
            yield failure(name, error)
    for name, kind in TABLES.items():
        try:
            yield from check_table(run, every, name, kind)
        except Exception as error:
            yield failure(f"{FOLDER}/{name}.csv", error)
    yield from of_no_row(run, every)
    return f"{images:,} images of {len(every)} rows"


def mistakes(run: Run, row: Row, columns: dict, test: pd.DataFrame) -> Iterator[str]:
    """Yield what is wrong with the images of a row's maps."""
    ids = columns["image_id"].tolist()
    expected = min(run.config["explain"]["images"], len(test))
    if len(ids) != expected:
        yield f"has {len(ids)} images, expected {expected}"
    if unknown := [image_id for image_id in ids if image_id not in test.index]:
        yield f"has {some(unknown)}, no test images of the index"
        return
    if wrong := [
        i for i, label in zip(ids, columns["label"], strict=True) if test.country[i] != label
    ]:
        yield f"has another country than the index for {some(wrong)}"
    if unknown := sorted(set(columns["predicted"]) - set(run.need("classes"))):
        yield f"has the answers {some(unknown)}, no classes of the run"
    for kind in TABLES.values():
        ((*_, table),) = read_row_tables([row], [table_path(run, row, kind)])
        if kind == "checks":
            yield from _other_answers(columns, table)
        if strange := sorted(set(table["image_id"]) - set(ids)):
            yield f"does not have {some(strange)} of its table {row.seed}_{kind}.csv"


def _other_answers(columns: dict, checks: pd.DataFrame) -> Iterator[str]:
    """Yield which maps explain another answer than the row's own table names."""
    answers = dict(zip(checks["image_id"], checks["answer"], strict=True))
    pairs = zip(columns["image_id"].tolist(), columns["predicted"].tolist(), strict=True)
    if other := [image_id for image_id, found in pairs if answers.get(image_id, found) != found]:
        yield f"explains another answer than the row's for {some(other)}"


def table_path(run: Run, row: Row, kind: str) -> str:
    """Return the path of a row's table of one of the kinds of TABLES."""
    return str(run.folder / FOLDER / f"{row.path}_{kind}.csv")


def check_table(run: Run, every: list[Row], name: str, kind: str) -> Iterator[Finding]:
    """Compare a table of the run with what its rows' tables give."""
    tables = read_row_tables(every, [table_path(run, row, kind) for row in every])
    seed = run.config["seed"]
    expected = {
        "influence": lambda: influence(tables, seed),
        "cause": lambda: cause(tables, seed),
        "faithfulness": lambda: faithfulness(tables),
    }[name]()
    expected = expected.astype({c: str for c in expected.select_dtypes("bool")})
    yield from compare_numbers(run, f"{FOLDER}/{name}.csv", expected, [], "the tables of the rows")


def of_no_row(run: Run, every: list[Row]) -> Iterator[Finding]:
    """Find files of rows that the configuration does not explain."""
    known = {f"{row.path}.h5" for row in every}
    known |= {f"{row.path}_{kind}.csv" for row in every for kind in TABLES.values()}
    folder = run.folder / FOLDER
    for path in sorted(folder.glob("*/*/*")):
        name = path.relative_to(folder).as_posix()
        if name not in known and not path.name.startswith("."):
            yield Finding(f"{FOLDER}/{name}", "is of no explained row; delete it", warning=True)
