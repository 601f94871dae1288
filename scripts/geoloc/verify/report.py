"""Check the tables of countries, the record of the run and the report."""

from __future__ import annotations

from geoloc.evaluation.by_country import accuracy_by_country, confusion
from geoloc.files import file_hash
from geoloc.report.run_record import read_record
from geoloc.verify.results import all_predictions, compare_numbers
from geoloc.verify.run import AGAIN, Check, Finding, Run, failure, read_text

RECORD, PAGE = "run.json", "report.html"


def check_countries(run: Run) -> Check:
    """Check that accuracy_by_country.csv and confusion.csv match the predictions."""
    predictions = all_predictions(run)
    tables = {
        "accuracy_by_country.csv": accuracy_by_country(predictions),
        "confusion.csv": confusion(predictions),
    }
    for name, expected in tables.items():
        try:
            yield from compare_numbers(run, name, expected, [], "the predictions")
        except (OSError, ValueError) as error:
            yield failure(name, error)
    return f"{len(tables['accuracy_by_country.csv'])} accuracies"


def check_report(run: Run) -> Check:
    """Check that the record names the current tables and that the page is complete."""
    tables = {}
    try:
        tables = read_record(run.folder / RECORD)["tables"]
    except (OSError, ValueError, KeyError) as error:
        yield failure(RECORD, error)
    for name, digest in tables.items():
        path = run.folder / name
        if path.is_file() and file_hash(path) != digest:
            yield Finding(RECORD, f"was made with another {name}; {AGAIN}")
    try:
        if not read_text(run.folder / PAGE).rstrip().endswith("</html>"):
            yield Finding(PAGE, f"is cut off; {AGAIN}")
    except (OSError, ValueError) as error:
        yield failure(PAGE, error)
    return f"made with {len(tables)} tables"
