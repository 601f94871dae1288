"""The command `geoloc`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

import geoloc
from geoloc.errors import GeolocError

COMMANDS = {
    "predict": ("geoloc.cli.predict", "predict the countries of your own photos"),
    "verify": ("geoloc.verify.command", "check a finished run for damaged or missing files"),
    "explore": ("geoloc.cli.explore", "look at a finished run in a browser"),
    "config": ("geoloc.cli.config", "print the configuration as it will be used"),
    "estimate": ("geoloc.cli.estimate", "estimate jobs, hours and disk space of a run"),
    "missing": ("geoloc.cli.missing", "make only files that do not exist"),
    "cite": ("geoloc.cli.cite", "print what to cite for the data, weights and methods of a run"),
    "crate": ("geoloc.cli.crate", "describe a finished run as an RO-Crate, for an archive"),
    "compare": ("geoloc.cli.compare", "compare the accuracies of two finished runs"),
    "compare-geocoders": (
        "geoloc.cli.compare_geocoders",
        "list images whose country depends on the geocoder",
    ),
}
"""Module with a function `main(arguments)`, and a description, by command."""


def usage() -> str:
    """Return the help of `geoloc`: its commands and what each does."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{does}" for name, (_, does) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: geoloc COMMAND ...",
            "",
            "commands:",
            *lines,
            "",
            "options:",
            "  --version  print the version",
            "",
            "Run `geoloc COMMAND --help` for the options of a command and for examples. To run the",
            "workflow itself, use snakemake.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Run a command and return its exit status; 2 for an unknown command."""
    try:
        try:
            return _run(*(sys.argv[1:] if arguments is None else arguments))
        finally:
            sys.stdout.flush()
    except GeolocError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output stopped, as `head` does
        # Python flushes the rest when it exits, and would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _run(name: str = "--help", *arguments: str) -> int | None:
    if name == "--version":
        print(f"geoloc {geoloc.__version__}")
        return 0
    if name in ("--help", "-h"):
        print(usage())
        return 0
    if name not in COMMANDS:
        print(f"geoloc: unknown command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    return import_module(COMMANDS[name][0]).main(list(arguments))
