"""The workflow on a real Slurm, through the profile that users call. `make test-slurm` runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.slurm import cluster
from tests.test_workflow import SMALL, make_workdir, planned_jobs

PROFILE = (
    "--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5",
    "--slurm-status-command", "squeue", "--latency-wait", "5",
    "--configfile", "config/demo.yaml", "small.yaml",
)  # fmt: skip
TINY = SMALL | {"demo": {"images_per_country": 8, "benchmark_images": 4}}
GPU_RULES = {"segment", "train", "train_clip", "predict", "predict_clip"}


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    """The folder of a running cluster; not one of pytest's, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        cluster.start(folder)
        yield folder
        cluster.stop(folder)


@pytest.fixture(scope="module")
def finished(slurm, tmp_path_factory) -> Path:
    """A run that was submitted to the cluster, killed on the way, and called again."""
    folder = make_workdir(tmp_path_factory.mktemp("run"))
    (folder / "small.yaml").write_text(yaml.safe_dump(TINY))
    with start_snakemake(folder, slurm) as process:
        wait_for(lambda: list(folder.glob("results/small/segments/*/*.h5")), process)
        process.send_signal(signal.SIGKILL)
    subprocess.run(["scancel", "--user=root"], env=cluster.environment(slurm), check=True)
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--unlock", *PROFILE], cwd=folder, check=True
    )
    with start_snakemake(folder, slurm) as process:
        assert process.wait() == 0, (folder / "snakemake.log").read_text()[-8000:]
    return folder


def start_snakemake(folder: Path, slurm: Path, *arguments: str) -> subprocess.Popen:
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / "snakemake.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--nocolor", *PROFILE, *arguments],
            cwd=folder,
            env=cluster.environment(slurm) | path,
            stdout=log,
            stderr=log,
        )


def wait_for(condition, process: subprocess.Popen, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "Snakemake ended early"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(1)


def slurm_jobs(slurm: Path) -> list[dict[str, str]]:
    """Every job that the cluster remembers, by the names of `scontrol show job`."""
    text = subprocess.run(
        ["scontrol", "--oneliner", "show", "job"], env=cluster.environment(slurm), text=True,
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    return [dict(re.findall(r"(\w+)=(\S+)", line)) for line in text.splitlines() if line]


def rule_of(job: dict[str, str]) -> str:
    return next(part for part in Path(job["StdOut"]).parts if part.startswith("rule_"))[5:]


def test_a_run_that_was_killed_goes_on_and_ends_with_table_1(finished):
    assert len((finished / "results/small/table1.csv").read_text().splitlines()) == 8


def test_what_was_segmented_before_the_kill_was_not_segmented_again(finished, slurm):
    done = [job for job in slurm_jobs(slurm) if rule_of(job) == "segment"]
    completed = [job["StdOut"] for job in done if job["JobState"] == "COMPLETED"]
    folders = [str(Path(path).parent) for path in completed]
    assert len(folders) == len(set(folders)) >= 7


def test_stages_with_a_network_ask_for_a_gpu_and_small_ones_stay_local(finished, slurm):
    jobs = slurm_jobs(slurm)
    for job in jobs:
        wanted = rule_of(job) in GPU_RULES
        assert (job["Partition"] == "gpu") == wanted, rule_of(job)
        assert ("gpu" in job.get("TresPerJob", "")) == wanted, rule_of(job)
    rules = {rule_of(job) for job in jobs}
    assert rules >= GPU_RULES | {"prepare", "mask", "arrays"}
    assert not rules & {"table1", "metrics", "quarantine", "score_examples"}


def test_logs_are_found_by_rule_and_wildcards(finished):
    assert list(finished.glob("results/slurm_logs/rule_segment/FR_*/*.log"))


def test_nothing_is_left_to_do(finished, slurm):
    with start_snakemake(finished, slurm, "-n") as process:
        assert process.wait() == 0
    assert planned_jobs((finished / "snakemake.log").read_text()) == {}
