"""What `--logger geoloc` shows of a run: stages, speed, warnings and errors, and no more."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from snakemake_logger_plugin_geoloc.speed import read_speed
from tests.conftest import ROOT
from tests.processes import SNAKEMAKE, snakemake

# Rules of the kinds that the workflow has: many small jobs, one that takes long, warnings, errors.
SNAKEFILE = """
rule all:
    input:
        expand("pack/{n}", n=range(20)),
        "train/slow",

rule pack:
    output:
        "pack/{n}",
    log:
        "logs/pack/{n}.log",
    message:
        "Packing {wildcards.n}"
    script:
        "pack.py"

rule train:
    output:
        "train/slow",
    log:
        "logs/train.log",
    message:
        "Training"
    script:
        "train.py"
"""
START = "from geoloc.logs import start_log\nlog = start_log(snakemake.log[0])\n"
END = "open(snakemake.output[0], 'w').close()\n"
PACK = f"""{START}
log.info("1 image packed")
if snakemake.wildcards.n == "7":
    for number in range(9):
        log.warning("image %d is damaged", number)
{END}"""
TRAIN = f"""{START}
import time
for n in range(4):
    log.info("epoch %d/4: loss 2.7, %.1f images/s, at most 1 min %02d s left", n, 7.5, 9 - n)
    time.sleep(1)
{END}"""
FAILING = f"""{START}
from geoloc.errors import InputError
for number in range(100):
    log.info("line %d", number)
raise InputError("images/NA/0000.h5 is damaged: delete it")
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, text in {"Snakefile": SNAKEFILE, "pack.py": PACK, "train.py": TRAIN}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def command(*arguments: str) -> list[str]:
    options = ("--cores", "2", "--logger", "geoloc", "--logger-geoloc-interval", "1")
    return [sys.executable, "-m", "snakemake", *options, *arguments]


def run(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run Snakemake and return what a terminal shows."""
    done = SNAKEMAKE.run(command(*arguments)[1:], folder, ENVIRONMENT)
    output = done.stdout + done.stderr
    assert done.returncode == status, output
    return output


def test_a_run_prints_lines_for_stages_and_not_for_jobs(folder):
    output = run(folder)
    stages = [line for line in output.splitlines() if re.match(r"[\d:]{8} +\d+ %  ", line)]
    begins = [line[16:] for line in stages if "progress" not in line]
    assert sum("Packing" in line for line in begins) == 1
    assert any(re.search(r"pack: 20 jobs done in \d+ s", line) for line in begins)
    assert len(begins) == 4
    speed = [line for line in stages if "train: 0 of 1 done, 1 in progress" in line]
    assert speed
    assert any(re.search(r"7.5 images/s, 1 min 0\d s left$", line) for line in speed)
    # Of nine warnings of a job three are shown, and where the others are.
    assert output.count("is damaged") == 3
    assert "More warnings are in logs/pack/7.log" in output
    assert (folder / "logs/pack/7.log").read_text().count("is damaged") == 9
    others = [line for line in output.splitlines() if line not in stages]
    assert len(others) < 12, output
    # The reasons and all jobs are in Snakemake's own log file, which the output names.
    (path,) = re.findall(r"Complete log\(s\): (\S+)", output)
    log = Path(path).read_text()
    assert log.count("Packing") == 20
    assert log.count("Reason: Missing output files") == 21


def test_a_finished_run_says_that_nothing_is_to_be_done(folder):
    assert "Nothing to be done" not in run(folder, "pack/0")
    assert "Nothing to be done" in run(folder, "pack/0")


def test_a_failed_job_is_shown_with_the_end_of_its_log(folder):
    (folder / "train.py").write_text(FAILING)
    output = run(folder, "--show-failed-logs", "train/slow", status=1)
    assert "ERROR: train failed: train/slow" in output
    assert "log: logs/train.log" in output
    assert "images/NA/0000.h5 is damaged: delete it" in output.partition("log: logs/train.log")[2]
    assert "line 99" in output
    assert "line 10\n" not in output
    assert "Traceback" not in output
    assert "CalledProcessError" not in output
    assert len(output.splitlines()) < 35, output


def test_a_dry_run_looks_as_usual(folder):
    output = run(folder, "-n", "train/slow")
    usual = snakemake(folder, "--cores", "2", "-n", "train/slow", environment=ENVIRONMENT).stdout
    assert "Reason: Missing output files" in usual
    without_times = [
        re.sub(r"\[\w{3} .*\]|Date: .*|Workflow ID: .*|Command: .*", "", text)
        for text in (output, usual)
    ]
    lines = [sorted(text.splitlines()) for text in without_times]
    assert set(lines[1]) <= set(lines[0])


def test_an_interrupted_run_ends(folder):
    (folder / "train.py").write_text(TRAIN.replace("sleep(1)", "sleep(30)"))
    process = subprocess.Popen(
        command("train/slow"), cwd=folder, env=ENVIRONMENT, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        # What a shell starts in the background ignores the signal, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (folder / "logs/train.log").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode not in (0, None), output
    assert "Training" in output


def test_the_speed_is_the_last_of_the_log_and_of_this_run(tmp_path):
    log = tmp_path / "job.log"
    log.write_text(
        "10:00:00 INFO segment: 1/34 images, 0.10 images/s, 5 min 30 s left\n"
        "10:00:10 INFO segment: 18/34 images, 0.86 images/s, 2 h 05 min left, 19.9 masks an image\n"
        "10:00:11 INFO time: encoder 11 %\n"
    )
    speed = read_speed([str(log)], time.time())
    assert (speed.rates, speed.left) == ({"images": 0.86}, 7500)
    both = speed + read_speed([str(log)], time.time())
    assert (both.rates, both.left) == ({"images": 1.72}, 7500)
    assert not read_speed([str(log)], time.time() + 60).rates  # the log of an earlier run
    assert not read_speed([str(tmp_path / "none.log")], 0).rates


def test_the_options_of_the_slurm_profile_exist():
    help_text = snakemake(ROOT, "--help").stdout
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    assert profile["slurm-jobname-prefix"]
    options = set(re.findall(r"--[a-z-]+", help_text))
    assert {f"--{name}" for name in profile} <= options
