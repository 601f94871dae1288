"""`geoloc cite`: Print what to cite for the data, weights and methods of a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from geoloc.config import SCHEMA, ConfigError, damaged_config, load_schema, read_written_config
from geoloc.errors import FileError
from geoloc.report.citations import references

EXAMPLES = """\
examples:
  geoloc cite results/study
  geoloc cite results/study --bibtex > references.bib
"""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc cite",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("results", type=Path, help="folder of the run, such as results/study")
    parser.add_argument("--bibtex", action="store_true", help="as BibTeX instead of text")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the references.

    Raises:
        FileError: if the folder is not that of a run.
    """
    options = parse_arguments(arguments)
    path = options.results / "config.yaml"
    try:
        config = read_written_config(path, load_schema(SCHEMA))
    except FileNotFoundError as error:
        raise FileError(
            f"{path} does not exist; give the folder of a run, such as results/study"
        ) from error
    except ConfigError as error:
        raise damaged_config(path, error) from error
    for reference in references(config):
        print(reference.bibtex() if options.bibtex else f"[{reference.why}] {reference.text()}")
    return 0
