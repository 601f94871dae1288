"""The command `geoloc`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import geoloc

COMMANDS = {
    "predict": ("geoloc.cli.predict", "name the likeliest countries of your own photos"),
    "verify": ("geoloc.verify.command", "check that a finished run is whole"),
    "estimate": ("geoloc.cli.estimate", "jobs, hours and disk of a run, before you start it"),
    "missing": ("geoloc.cli.missing", "build only what does not exist, whatever is newer"),
    "compare-geocoders": (
        "geoloc.cli.compare_geocoders",
        "list the images whose country depends on the geocoder",
    ),
}
"""Module with a function `main(arguments)`, and what it does, by command."""


def usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{does}" for name, (_, does) in COMMANDS.items()]
    return "\n".join([
        "usage: geoloc COMMAND ...", "", "commands:", *lines, "",
        "options:", "  --version  print the version", "",
        "`geoloc COMMAND --help` shows the options of a command and examples. The workflow itself",
        "runs with snakemake.",
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Run a command. Returns its exit status; 2 for a command that does not exist."""
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name == "--version":
        print(f"geoloc {geoloc.__version__}")
        return 0
    if name in ("--help", "-h"):
        print(usage())
        return 0
    if name not in COMMANDS:
        print(f"geoloc: no command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    return import_module(COMMANDS[name][0]).main(rest)
