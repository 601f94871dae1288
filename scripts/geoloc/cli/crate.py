"""`geoloc crate`: Describe a finished run as an RO-Crate, from each cell of Table 1 to the images.

It writes ro-crate-metadata.json and the definition of the workflow into the folder of the run, or
a zip file to deposit in an archive. In the zip, large files and the stores of images are described
by name and size, files also by SHA-256, and not copied.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import geoloc
from geoloc.errors import InputError
from geoloc.report.code_version import code_version
from geoloc.report.crate import (
    NO_LICENSE,
    describe_run,
    write_beside,
    write_zip,
)
from geoloc.report.finished_run import FinishedRun, finished_run

PROJECT = Path(geoloc.__file__).parents[2]
MB = 10**6
EXAMPLES = """\
examples:
  make the folder of the run a crate:
    geoloc crate results/study
  a zip file with tables, report, predictions and everything else of at most 10 MB:
    geoloc crate results/study --zip study.zip --license https://spdx.org/licenses/CC-BY-4.0
  the same with the trained models:
    geoloc crate results/study --zip study.zip --max-mb 1000
"""


def megabytes(text: str) -> float:
    """Parse a size of 0 or more."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc crate",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", type=Path, help="folder of a finished run, results/NAME")
    add("--zip", type=Path, metavar="FILE", help="write a zip file and leave the folder unchanged")
    add(
        "--max-mb",
        type=megabytes,
        default=10,
        metavar="MB",
        help="largest file that is copied into the zip file (default 10)",
    )
    add("--license", default=NO_LICENSE, help="license of the results, an address or a text")
    add("--author", default="", help="name of the person who made the run")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the crate and print where it is.

    Raises:
        FileError: if the run is not finished or has changed since it was.
        InputError: if the package rocrate is missing, or this is no checkout of the project.
    """
    options = parse_arguments(arguments)
    if not find_spec("rocrate"):
        raise InputError("geoloc crate needs rocrate; run make setup, or install rocrate==0.16.0")
    if not (PROJECT / "Snakefile").exists():
        raise InputError("geoloc crate needs a checkout of the project; install it with make setup")
    run = finished_run(options.run, PROJECT)
    if told := other_code(run):
        print(f"warning: {told}", file=sys.stderr)
    largest = int(options.max_mb * MB) if options.zip else None
    crate = describe_run(run, largest, options.license, options.author)
    if options.zip:
        write_zip(crate, options.zip)
    written = options.zip or write_beside(crate, options.run)
    names = [entity.id.removeprefix("#") for entity in crate.contextual_entities]
    described = sum((options.run / name).is_file() for name in names)
    part = f"; larger files that are only described: {described}" if options.zip else ""
    print(f"{written}: {len(crate.data_entities)} files and folders{part}")
    return 0


def other_code(run: FinishedRun) -> str | None:
    """Say if the definition of the workflow in the checkout is not what the run was made with."""
    made, here = run.record["software"], code_version(PROJECT)
    if made["commit"] == here["commit"] and made["clean"] is not False and here["clean"]:
        return None
    commit = made["commit"] or "an unknown commit"
    changed = " with changed files" if made["clean"] is False else ""
    return (
        f"the run was made with {commit}{changed}, the Snakefile and rules of the crate are those "
        f"of this checkout ({here['commit'] or 'unknown commit'}"
        f"{'' if here['clean'] else ', with changed files'})"
    )
