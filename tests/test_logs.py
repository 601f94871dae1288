"""What a job's log says: of a failure a message for its user or a traceback for its programmer, and
where its packages come from."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from geoloc import progress
from geoloc.gpus import describe_cpu
from tests.conftest import ROOT
from tests.processes import ENVIRONMENT

DAMAGED = """
open("a.h5", "wb").write(b"x")
from geoloc.stores import read_images
list(read_images("a.h5"))
"""
FULL = f"raise OSError({errno.ENOSPC}, os.strerror({errno.ENOSPC}), 'results/big.h5')"
MISTAKE = "from geoloc.corpus.split import unique_names\nunique_names([1])"
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
        (DAMAGED, r"delete it and run snakemake again (errors.py, line "),
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


def test_a_disk_without_room_for_the_log_costs_no_line_and_adds_none(tmp_path):
    (tmp_path / "job.log").symlink_to("/dev/full")
    code = "from geoloc.logs import start_log\nstart_log('job.log').info('%d images', 3)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stderr.endswith("INFO 3 images\n")
    assert len(done.stderr.splitlines()) == 1


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


PACKAGES = """
import sys
sys.path.append(sys.argv[2])  # as Snakemake does in a container
import geoloc
from geoloc.logs import start_log
start_log(sys.argv[1])
import h5py
try:
    import only_on_the_host
except ImportError:
    print("missed")
"""


def test_a_log_tells_the_packages_and_nothing_is_taken_from_beside_snakemake(tmp_path):
    host = tmp_path / "snakemake_searchpaths/item_0"
    host.mkdir(parents=True)
    (host / "only_on_the_host.py").write_text("")
    log = tmp_path / "job.log"
    command = [sys.executable, "-c", PACKAGES, str(log), str(host)]
    result = subprocess.run(
        command, cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    assert result.stdout == "missed\n"
    import h5py

    packages = next(line for line in log.read_text().splitlines() if "h5py" in line)
    assert "packages of" in packages
    assert f"h5py {h5py.__version__}" in packages
    assert str(Path(h5py.__file__).parents[1]) in packages
    assert f"INFO ran on {platform.node()}: {describe_cpu()}\n" in log.read_text()


def test_stderr_has_warnings_and_the_log_file_has_all(tmp_path):
    code = "log = start_log('job.log')\nlog.info('34/34 images')\n"
    code += "for n in range(5):\n    log.warning('image %d', n)\nraise SystemExit(1)"
    _, log, stderr = fail(tmp_path, code)
    assert [line.partition(" ")[2] for line in log.splitlines()[:6]] == [
        "INFO 34/34 images",
        *(f"WARNING image {n}" for n in range(5)),
    ]
    shown = [line.partition(" ")[2] for line in stderr.splitlines()]
    assert shown[:3] == ["WARNING image 0", "WARNING image 1", "WARNING image 2"]
    assert stderr.splitlines()[3:] == ["More warnings are in job.log"]


def test_a_version_that_is_made_when_asked_for_does_not_end_the_log_with_a_traceback(tmp_path):
    (tmp_path / "lazy.py").write_text("def __getattr__(name):\n    raise RuntimeError(name)\n")
    code = "import sys\nsys.path.append('.')\nimport lazy\nraise SystemExit(1)"
    _, log, stderr = fail(tmp_path, code)
    assert "packages of" in log
    assert not stderr


NATIVE = """
import os
from geoloc.logs import native_stderr_hidden
with native_stderr_hidden():
    os.write(2, b"greeting")
os.write(2, b"then ")
with native_stderr_hidden():
    os.write(2, b"reason")
    raise SystemExit(1)
"""


def test_greetings_of_libraries_are_hidden_unless_they_fail(tmp_path):
    assert fail(tmp_path, NATIVE)[2] == "then reason"
