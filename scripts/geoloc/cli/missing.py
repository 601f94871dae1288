"""`geoloc missing`: build the files of a run that do not exist, and leave those that do.

Snakemake makes a file again when something that it depends on is newer or has changed. This asks
for the missing files by name and ignores what is newer or has changed. It asks again until none is
missing, since Snakemake plans no missing file that lies behind an existing one.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
from collections.abc import Sequence

SNAKEMAKE = ("snakemake", "--snakefile", "missing.smk", "--rerun-triggers", "mtime")
SHARDS = re.compile(r"results/[^/]+/index/shards\.csv")
EXAMPLES = """\
examples:
  what would be built for the study:
    geoloc missing -- -n
  build it on a cluster, for your own configuration:
    geoloc missing -- --profile slurm --configfile my.yaml
  one more file:
    geoloc missing results/study/figures/accuracy.png
"""


def missing_files(summary: str) -> list[str]:
    """Files of a run that do not exist, from what `snakemake --summary` prints. `all` stands for
    those that are not known yet, as long as there is no index."""
    rows = csv.DictReader(summary.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    missing = [row["output_file"] for row in rows if row["status"] == "missing"]
    files = [path for path in missing if path.startswith("results/")]
    return files + ["all"] * any(map(SHARDS.fullmatch, files))


def find_missing(options: Sequence[str]) -> list[str]:
    """Ask Snakemake. Ends the program with Snakemake's message where it cannot plan."""
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
    parser.add_argument("files", metavar="FILE", nargs="*", help="files to build besides")
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:end])
    options.snakemake = given[end + 1 :]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing. Returns Snakemake's exit status."""
    options = parse_arguments(arguments)
    before: list[str] | None = None
    while (files := find_missing(options.snakemake)) != before and (files or options.files):
        command = [*SNAKEMAKE, *options.snakemake, "--", *files, *options.files]
        if status := subprocess.run(command, check=False).returncode:
            return status
        before = files
    if before is None:
        print("Nothing is missing.")
    return 0
