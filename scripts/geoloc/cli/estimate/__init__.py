"""`geoloc estimate`: Estimate jobs, hours and disk space of a run, by stage.

Snakemake plans the run to count its jobs. The number of images comes from the run's index. If the
index does not exist, it comes from the options, whose defaults are the counts of the study. Seconds
and bytes come from finished jobs of this run, or of the run given with --measured; --rate and
--bytes override them. Whatever has not been measured is shown as unknown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from geoloc.arguments import positive
from geoloc.cli.estimate.jobs import plan_jobs
from geoloc.cli.estimate.sizes import find_sizes
from geoloc.cli.estimate.stages import find_stages
from geoloc.cli.estimate.table import format_table, make_table, totals
from geoloc.config import ConfigError, read_config

EXAMPLES = """\
examples:
  the study (config/config.yaml):
    geoloc estimate
  another run, with seconds per image that you measured:
    geoloc estimate --configfile my.yaml --rate segment.sam=2.1 --rate score.objects=0.3
"""


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: write STAGE=NUMBER") from error


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc estimate",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--configfile", type=Path, nargs="+", default=[], help="as for snakemake")
    parser.add_argument(
        "--images",
        type=positive,
        default=73_867,
        help="number of street images, if there is no index",
    )
    parser.add_argument(
        "--countries", type=positive, default=73, help="number of classes, if there is no index"
    )
    parser.add_argument("--test-set-images", type=int, default=2_504, help="images of test sets")
    parser.add_argument("--test-set-countries", type=positive, default=61, help="their countries")
    parser.add_argument(
        "--shard-size",
        type=positive,
        help="try another index.shard_size; the number of shards is then an estimate",
    )
    parser.add_argument("--measured", type=Path, help="results of the run to take speeds from")
    parser.add_argument(
        "--rate",
        type=_pair,
        action="append",
        default=[],
        metavar="STAGE=SECONDS",
        help="seconds per image",
    )
    parser.add_argument(
        "--bytes",
        type=_pair,
        action="append",
        default=[],
        metavar="STAGE=BYTES",
        help="bytes written per image",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the estimate; exits with a message if the configuration or an option is wrong."""
    options = parse_arguments(arguments)
    try:
        config = read_config(options.configfile)
    except (ConfigError, OSError) as error:
        sys.exit(str(error))
    sizes = find_sizes(config, options)
    print(f"Snakemake plans {len(sizes.shards):,} shards …", file=sys.stderr)
    stages = find_stages(config, sizes, plan_jobs(config, options.configfile, sizes))
    names = {stage.name for stage in stages}
    if unknown := {name for name, _ in options.rate + options.bytes} - names:
        sys.exit(
            f"unknown stage {', '.join(sorted(unknown))}; use one of {', '.join(sorted(names))}"
        )
    measured = options.measured or Path("results", config["run"])
    table = make_table(config, stages, measured, dict(options.rate), dict(options.bytes))
    total = totals(table)
    if options.json:
        rows = json.loads(table.to_json(orient="records"))
        print(json.dumps({"sizes": sizes.numbers(), "stages": rows, "total": total}, indent=2))
        return
    print(
        f"{sizes.street:,} street images ({sizes.train:,} / {sizes.val:,} / {sizes.test:,}) and "
        f"{sizes.test_set:,} of test sets, from {sizes.known_from}\n"
    )
    print(format_table(table, total))
    print(
        f"\nHours are estimates: seconds measured in {measured} or given with --rate, times the "
        "work.\nTraining may stop early. Downloads and the demo's data are not included."
    )
