"""What a failed job says: a message for its user, or a traceback for its programmer."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from geoloc import progress
from tests.processes import ENVIRONMENT

DAMAGED = """
open("a.h5", "wb").write(b"x")
from geoloc.stores import read_images
list(read_images("a.h5"))
"""
FULL = f"raise OSError({errno.ENOSPC}, os.strerror({errno.ENOSPC}), 'results/big.h5')"
MISTAKE = "from geoloc.split import unique_names\nunique_names([1])"
LIBRARY = "from geoloc.images import resize_nearest\nresize_nearest(1, 2)"
NUMBERS = "import numpy as np\nnp.zeros(3).reshape(2, 2)"


def fail(folder, code):
    """Run a script that fails: its exit status, its log file and what it says on stderr."""
    code = f"import os\nfrom geoloc.logs import start_log\nstart_log('job.log')\n{code}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return done.returncode, (folder / "job.log").read_text(encoding="utf-8"), done.stderr


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (DAMAGED, r"delete a.h5 and run snakemake again to make it anew (stores.py, line "),
        (FULL, f"{os.strerror(errno.ENOSPC)}: 'results/big.h5' ("),
    ],
    ids=["damaged", "full"],
)
def test_an_expected_failure_ends_the_log_with_its_message_alone(tmp_path, code, message):
    status, log, stderr = fail(tmp_path, code)
    assert status == 1
    assert message in log.splitlines()[-1]
    assert "Traceback" not in log + stderr
    assert len(log.splitlines()) == len(stderr.splitlines()) == 1


@pytest.mark.parametrize("code", [MISTAKE, LIBRARY, NUMBERS], ids=["type", "attribute", "numpy"])
def test_a_mistake_of_the_program_keeps_its_traceback_in_the_log(tmp_path, code):
    status, log, stderr = fail(tmp_path, code)
    assert status == 1
    assert "Traceback (most recent call last)" in log
    assert len(stderr.splitlines()) == 1
    assert log.splitlines()[0] == stderr.strip()


def test_a_job_of_hours_writes_hundreds_of_lines_and_not_thousands(monkeypatch, caplog):
    clock = iter(range(10**6))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    caplog.set_level("INFO")
    list(progress.Progress(range(6 * 3600)))
    assert 100 < len(caplog.records) < 500
