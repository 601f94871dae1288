"""`geoloc config`: Print the configuration as it will be used.

Defaults, config/config.yaml and the files given are merged as Snakemake merges them, and checked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from geoloc.config import MATRIX, load_schema, read_config
from geoloc.matrix import columns, rows

EXAMPLES = """\
examples:
  the study:
    geoloc config
  an experiment on the demo, only its rows and columns of Table 1:
    geoloc config --configfile config/demo.yaml config/experiments/controls.yaml --rows
  one section:
    geoloc config --section datasets
"""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc config",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--configfile", type=Path, nargs="+", default=[], metavar="YAML", help="as for snakemake"
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--section", help="print this key only")
    choice.add_argument(
        "--rows", action="store_true", help="print the rows and columns of Table 1 instead"
    )
    options = parser.parse_args(arguments)
    options.parser = parser
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Print YAML, or rows and columns. Mistakes raise a ConfigError, which names them."""
    options = parse_arguments(arguments)
    config = read_config(options.configfile)
    if options.rows:
        for row in rows(config):
            print(row.path)
        print("\n".join(["", *columns(config).values()]))
        return 0
    if options.section and options.section not in config:
        options.parser.error(f"no section {options.section}; use one of {', '.join(config)}")
    # What is printed can be given to Snakemake, which puts it on top of config/config.yaml.
    study = load_schema("config/config.yaml")
    for section in MATRIX:
        config[section] |= {name: None for name in study[section] if name not in config[section]}
    shown = {options.section: config[options.section]} if options.section else config
    plain = json.loads(json.dumps(shown, default=str))  # without aliases of YAML
    print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), end="")
    return 0
