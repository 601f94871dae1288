"""`geoloc explore`: Look at the images, answers and segments of a finished run in a browser.

The page is served on this machine only (127.0.0.1) and loads nothing from elsewhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from geoloc.errors import InputError

PORT = 8642
LARGEST_PORT = 65535
PACKAGES = ("starlette", "uvicorn")
EXAMPLES = """\
examples:
  the demo:
    geoloc explore results/demo
  on a machine that you are logged in to over SSH (then open http://127.0.0.1:8642/ on yours):
    ssh -L 8642:127.0.0.1:8642 MACHINE
    geoloc explore results/study --no-browser
"""


def port_number(text: str) -> int:
    """Parse a port, 0 for any free one."""
    number = int(text)
    if not 0 <= number <= LARGEST_PORT:
        raise ValueError(text)
    return number


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc explore",
        description=__doc__.partition(": ")[2],
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", type=Path, help="folder of a finished run, results/NAME")
    add("--port", type=port_number, default=PORT, help=f"port (default {PORT}; 0: any free one)")
    add("--no-browser", action="store_true", help="print the address and open no browser")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C."""
    options = parse_arguments(arguments)
    if missing := [name for name in PACKAGES if not find_spec(name)]:
        raise InputError(
            f"geoloc explore needs {' and '.join(missing)}; run make setup, or install "
            "starlette==1.10.0 and uvicorn==0.54.0"
        )
    from geoloc.explore.server import serve

    serve(options.run, options.port, not options.no_browser)
    return 0
