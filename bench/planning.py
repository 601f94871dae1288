"""Plan a run in the current folder, as `snakemake -n` does, and print what it took as JSON.

Arguments are files of configuration on top of the study's.

A program of its own, so that no other package counts as Snakemake's memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
import time
from pathlib import Path


def status(key: str) -> float:
    """Return a value of /proc/self/status in MiB."""
    text = Path("/proc/self/status").read_text()
    return int(re.search(rf"^{key}:\s+(\d+)", text, re.MULTILINE)[1]) / 1024


def main() -> None:
    wall, cpu = time.monotonic(), time.process_time()
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        from snakemake.cli import main as snakemake

        try:
            overlays = ["--configfile", *sys.argv[1:]] if sys.argv[1:] else []
            snakemake(["-n", "--quiet", "rules", *overlays])
        except SystemExit as error:
            if error.code:
                sys.exit(output.getvalue())
    found = {"wall": time.monotonic() - wall, "cpu": time.process_time() - cpu}
    jobs = int(re.search(r"^total\s+(\d+)", output.getvalue(), re.MULTILINE)[1])
    # Not ru_maxrss, which starts with the memory of the process that started this one.
    print(json.dumps({**found, "mib": status("VmHWM"), "jobs": jobs}))


if __name__ == "__main__":
    main()
