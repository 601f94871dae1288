"""`geoloc missing`: Make only those files of a run that do not exist.

Snakemake remakes a file if something that it depends on is newer or has changed. This command
requests only the missing files, by name, and ignores changes and modification times. It repeats
until no file is missing, because Snakemake does not plan a missing file behind an existing one.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from geoloc.errors import InputError

SNAKEMAKE = ("snakemake", "--snakefile", "missing.smk", "--rerun-triggers", "mtime")
DRY_RUN = {"-n", "--dry-run", "--dryrun"}
HEAD = "output_file\t"
SHARDS = re.compile(r"results/[^/]+/index/shards\.csv")
EXAMPLES = """\
examples:
  show what would be made for the study:
    geoloc missing -- -n
  make it on a cluster, with your own configuration:
    geoloc missing -- --profile slurm --configfile my.yaml
  one more file:
    geoloc missing results/study/figures/accuracy.png
"""


def missing_files(summary: str) -> list[str]:
    """Return the missing files of a run from the output of `snakemake --summary`.

    While the index is missing, `all` stands for the files that are not known yet.
    """
    lines = summary.splitlines()  # other lines may come before the table
    start = next((n for n, line in enumerate(lines) if line.startswith(HEAD)), None)
    if start is None:
        raise InputError("snakemake --summary printed no table; run it to see why")
    rows = csv.DictReader(lines[start:], delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [row["output_file"] for row in rows if row["status"] == "missing"]
    files = [path for path in missing if path.startswith("results/")]
    return files + ["all"] * any(map(SHARDS.fullmatch, files))


def find_missing(options: Sequence[str]) -> list[str]:
    """Ask Snakemake; exit with its message if it can't plan.

    Raises:
        InputError: if Snakemake is not installed or prints no table.
    """
    if not shutil.which(SNAKEMAKE[0]):
        raise InputError("snakemake is not on the path; run source .venv/bin/activate")
    command = [*SNAKEMAKE, *options, "--summary", "--", "all"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.stderr.write(result.stderr)
        sys.exit(result.returncode)
    return missing_files(result.stdout)


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc missing",
        usage="%(prog)s [-h] [FILE ...] [-- SNAKEMAKE_OPTION ...]",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="*", help="further files to make")
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:end])
    options.snakemake = given[end + 1 :]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing and return Snakemake's exit status."""
    options = parse_arguments(arguments)
    before: list[str] | None = None
    while (files := find_missing(options.snakemake)) != before and (files or options.files):
        command = [*SNAKEMAKE, *options.snakemake, "--", *files, *options.files]
        if status := subprocess.run(command, check=False).returncode:
            return status
        before = files
        if DRY_RUN.intersection(options.snakemake):  # the same files are still missing
            break
    if before is None:
        print("Nothing is missing.")
    return 0
