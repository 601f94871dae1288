"""The workflow on a real Slurm, through the profile that users call. `make test-slurm` runs it.

One small run is killed on the way and called again. Then its longest stage is disturbed in the ways
that a cluster knows: each time the next attempt has to give the same file.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest
import yaml

from tests.slurm import accounting, cluster
from tests.workflow.test_workflow import SMALL, make_workdir, planned_jobs

PROFILE = (
    "--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "5",
    "--latency-wait", "5", "--configfile", "config/demo.yaml", "small.yaml",
)  # fmt: skip
# Two countries are left, Brazil with its damaged files and the United States.
TINY = SMALL | {
    "allow_cpu": True,  # the GPU of each node is a file
    "demo": {"images_per_country": 10, "test_set_images": 8, "countries": 7},
    "index": SMALL["index"] | {"min_images": 12},
    "segmentations": {"sam": {"points_per_side": 4}},
}
GPU_RULES = {"segment", "train_clip", "predict_clip", "explain_clip"}  # Keras has no CUDA in .venv
SEGMENTS = Path("results/small/segments/sam/US/0000.h5")
JOURNAL = SEGMENTS.with_name(".0000.journal")


@dataclass(frozen=True)
class Run:
    """A finished run: its folder, and the jobs (rule and wildcards) done before a kill."""

    folder: Path
    done_before: set[str]


@contextlib.contextmanager
def running_cluster(with_accounting: bool) -> Iterator[Path]:
    """A cluster in a folder that is not one of pytest's, which other users may not enter."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            cluster.start(folder, with_accounting)
            yield folder
        finally:
            cluster.stop(folder)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    """The folder of a running cluster without accounting."""
    with running_cluster(with_accounting=False) as folder:
        yield folder


@pytest.fixture(scope="module")
def slurm_with_accounting() -> Iterator[Path]:
    """The folder of a running cluster that answers `sacct`."""
    if accounting.missing_programs():
        pytest.skip(f"not installed: {', '.join(accounting.missing_programs())}")
    with running_cluster(with_accounting=True) as folder:
        yield folder


@pytest.fixture(scope="module")
def finished(slurm, tmp_path_factory) -> Run:
    """A run that was submitted to the cluster, killed on the way, and called again."""
    folder = make_workdir(tmp_path_factory.mktemp("run"))
    (folder / "small.yaml").write_text(yaml.safe_dump(TINY))
    log = folder / "snakemake.log"
    with start_snakemake(folder, slurm) as process:
        wait_for(lambda: "(Rule: segment)" in log.read_text(), process)
        process.send_signal(signal.SIGKILL)
    ended = set(re.findall(r"Finished jobid: (\d+) ", log.read_text()))
    submitted = re.findall(r"Job (\d+) has been .* SLURM jobid (\d+) ", log.read_text())
    done = {job for number, job in submitted if number in ended}
    subprocess.run(["scancel", "--user=root"], env=cluster.environment(slurm), check=True)
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--unlock", *PROFILE], cwd=folder, check=True
    )
    before = {task_of(job) for job in slurm_jobs(slurm) if job["JobId"] in done}
    finish(start_snakemake(folder, slurm), folder)
    return Run(folder, before)


def start_snakemake(folder: Path, slurm: Path, *arguments: str) -> subprocess.Popen:
    environment = cluster.environment(slurm)
    environment["PATH"] = f"{environment['PATH']}:{Path(sys.executable).parent}"
    with (folder / "snakemake.log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--nocolor", *PROFILE, *arguments],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )


def finish(process: subprocess.Popen, folder: Path) -> str:
    """Wait until Snakemake ends well; returns what it said."""
    returned = process.wait()
    text = (folder / "snakemake.log").read_text()
    assert returned == 0, text[-8000:]
    return text


def wait_for(condition, process: subprocess.Popen, seconds: float = 1800) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "Snakemake ended early"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.2)


def slurm_jobs(slurm: Path) -> list[dict[str, str]]:
    """Every job that the cluster remembers, by the names of `scontrol show job`."""
    text = subprocess.run(
        ["scontrol", "--oneliner", "show", "job"],
        env=cluster.environment(slurm),
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    return [
        dict(re.findall(r"(\w+)=(\S+)", line)) for line in text.splitlines() if "JobId=" in line
    ]


def task_of(job: dict[str, str]) -> str:
    """Rule and wildcards of a job, from the path of its log: `rule_segment/sam_US_0000`."""
    folder = Path(job["StdOut"]).parent
    return str(folder).partition("slurm_logs/")[2]


def rule_of(job: dict[str, str]) -> str:
    return task_of(job).partition("/")[0].removeprefix("rule_")


def test_a_run_that_was_killed_goes_on_and_ends_with_table_1(finished):
    table = finished.folder / "results/small/table1.csv"
    assert len(table.read_text().splitlines()) == 8


def test_what_was_done_before_the_kill_was_not_done_again(finished, slurm):
    assert any(task.startswith("rule_segment/") for task in finished.done_before)
    tasks = [task_of(job) for job in slurm_jobs(slurm)]
    assert {task for task in finished.done_before if tasks.count(task) > 1} == set()


def test_stages_with_a_network_ask_for_a_gpu_and_small_ones_stay_local(finished, slurm):
    jobs = slurm_jobs(slurm)
    for job in jobs:
        wanted = rule_of(job) in GPU_RULES
        assert (job["Partition"] == "gpu") == wanted, rule_of(job)
        assert ("gpu" in job.get("TresPerJob", "")) == wanted, rule_of(job)
    rules = {rule_of(job) for job in jobs}
    assert rules >= GPU_RULES | {
        "train",
        "predict",
        "prepare",
        "score",
        "pack_images",
        "pack_scores",
        "describe_segments",
    }
    assert not rules & {"table1", "metrics", "collect_quarantine", "score_examples", "found"}


def test_logs_are_found_by_rule_and_wildcards(finished):
    assert list(finished.folder.glob("results/slurm_logs/rule_segment/sam_US_0000/*.log"))


def test_nothing_is_left_to_do(finished, slurm):
    text = finish(start_snakemake(finished.folder, slurm, "-n"), finished.folder)
    assert planned_jobs(text) == {}


@dataclass
class Segmenting:
    """Snakemake making the deleted segments of one country again."""

    folder: Path
    slurm: Path
    before: dict[str, bytes | list]
    process: subprocess.Popen
    jobs_before: set[str]

    def jobs(self) -> list[dict[str, str]]:
        """The jobs submitted since, in their order."""
        return [job for job in slurm_jobs(self.slurm) if job["JobId"] not in self.jobs_before]

    def freeze(self) -> dict[str, str]:
        """The job, stopped in the middle: something is in its journal and nothing is added."""
        journal = self.folder / JOURNAL
        wait_for(lambda: journal.exists() and journal.stat().st_size > 1000, self.process)
        (job,) = self.jobs()
        for process in cluster.working_processes(job["JobId"]):
            process.suspend()
        return job

    def finish(self, goes_on: bool = True) -> None:
        """Wait for the end: the same segments, by a job that went on where the first was."""
        finish(self.process, self.folder)
        assert contents(self.folder / SEGMENTS) == self.before
        log = (self.folder / "results/small/logs/segment/sam/US/0000.log").read_text()
        assert bool(re.search(r"[1-9]\d* of 12 images were segmented before", log)) == goes_on


def contents(path: Path) -> dict[str, bytes | list]:
    """Every dataset of a store, bit by bit; the files differ where texts are kept in them."""
    with h5py.File(path) as file:
        values = {name: dataset[()] for name, dataset in file.items()}
    return {name: v.tolist() if v.dtype == object else v.tobytes() for name, v in values.items()}


@pytest.fixture
def segment_again(finished):
    """Delete the segments of one country and start Snakemake with further arguments."""
    started = []

    def start(slurm: Path, *arguments: str) -> Segmenting:
        folder = finished.folder
        before = contents(folder / SEGMENTS)
        known = {job["JobId"] for job in slurm_jobs(slurm)}
        arguments = ("--rerun-triggers", "mtime", *arguments, "--", str(SEGMENTS))
        (folder / SEGMENTS).unlink()
        process = start_snakemake(folder, slurm, *arguments)
        started.append(process)
        return Segmenting(folder, slurm, before, process, known)

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait()


def test_a_canceled_job_is_submitted_again_and_goes_on(segment_again, slurm):
    segmenting = segment_again(slurm)
    job = segmenting.freeze()
    subprocess.run(["scancel", job["JobId"]], env=cluster.environment(slurm), check=True)
    segmenting.finish()
    assert [job["JobState"] for job in segmenting.jobs()] == ["CANCELLED", "COMPLETED"]


def test_the_job_of_a_node_that_goes_down_goes_on_at_another(segment_again, slurm):
    segmenting = segment_again(slurm)
    job = segmenting.freeze()
    cluster.crash_node(slurm, job["NodeList"], job["JobId"])
    try:
        segmenting.finish()
    finally:
        cluster.start_node(slurm, job["NodeList"])
    assert segmenting.jobs()[-1]["JobState"] == "COMPLETED"
    assert segmenting.jobs()[-1]["NodeList"] != job["NodeList"]


def test_a_job_at_its_time_limit_gets_more_time_and_goes_on(segment_again, slurm):
    segmenting = segment_again(slurm)
    job = segmenting.freeze()
    change = ["scontrol", "update", f"JobId={job['JobId']}", "TimeLimit=1"]
    subprocess.run(change, env=cluster.environment(slurm), check=True)
    segmenting.finish()
    first, second = segmenting.jobs()
    assert [first["JobState"], second["JobState"]] == ["TIMEOUT", "COMPLETED"]
    assert [job["TimeLimit"], second["TimeLimit"]] == ["04:00:00", "08:00:00"]


def test_a_job_that_ran_out_of_memory_gets_more(segment_again, slurm):
    little = ("segment:slurm_partition=gpu", "segment:mem_mb=300 + 4000 * (attempt - 1)")
    segmenting = segment_again(slurm, "--set-resources", *little)
    segmenting.finish(goes_on=False)
    first, second = segmenting.jobs()
    assert [first["MinMemoryNode"], second["MinMemoryNode"]] == ["300M", "4300M"]
    assert first["JobState"] != "COMPLETED" == second["JobState"]


def test_with_accounting_the_efficiency_is_reported(segment_again, slurm_with_accounting):
    segmenting = segment_again(slurm_with_accounting)
    job = segmenting.freeze()
    scancel = ["scancel", job["JobId"]]
    subprocess.run(scancel, env=cluster.environment(slurm_with_accounting), check=True)
    segmenting.finish()
    assert [job["JobState"] for job in segmenting.jobs()] == ["CANCELLED", "COMPLETED"]
    report = next((segmenting.folder / "results/slurm_efficiency").iterdir())
    assert "rule_segment" in report.read_text()
