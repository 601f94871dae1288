"""Runs tests on mutants in forks of one process that has imported the large packages already.

A start of Python with TensorFlow and PyTorch takes longer than most tests; a fork takes some
milliseconds. Each fork works in a copy of the project, in which only the mutated file differs, so
that tests that read scripts, rules or the configuration, or start other processes, see it too.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPIED = (
    "scripts", "rules", "config", "tests", "demo", "envs", "profiles", "report", "bench", "docs",
    "slurm", "containers", "Snakefile", "missing.smk", "Makefile", "pyproject.toml",
    "README.md", "LICENSE", "CITATION.cff",
)  # fmt: skip
KEPT_RUN = "GEOLOC_KEPT_RUN"  # environment variable: a finished run that forks needn't make
NOT_COPIED = shutil.ignore_patterns("__pycache__", "*.pyc", "*.sif", ".hypothesis")


@dataclass(frozen=True)
class Outcome:
    """What the tests said of a mutant: noticed, and by which test (or `timeout`, `crash`)."""

    noticed: bool
    by: str
    seconds: float
    folder: Path


class Worker:
    """A copy of the project for one fork at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=NOT_COPIED, dirs_exist_ok=True)
            elif source.exists():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        reference = ROOT.parent / "shared"  # published lists, where a machine has them
        if reference.is_dir() and not (folder.parent / "shared").exists():
            (folder.parent / "shared").symlink_to(reference)

    def start(self, path: str, text: str | None, tests: list[str], limit: float) -> Run:
        """Fork a run of tests with another text of one file."""
        file = self.folder / path
        original = file.read_text(encoding="utf-8") if text is not None else None
        if text is not None:
            file.write_text(text, encoding="utf-8")
        pid = os.fork()
        if pid == 0:
            _run_tests(self.folder, tests)  # does not return
        return Run(self, pid, time.monotonic(), limit, file, original)


@dataclass
class Run:
    """A fork at work."""

    worker: Worker
    pid: int
    began: float
    limit: float
    file: Path
    original: str | None

    def outcome(self) -> Outcome | None:
        """None while the tests run."""
        seconds = time.monotonic() - self.began
        done, status = os.waitpid(self.pid, os.WNOHANG)
        if not done and seconds < self.limit:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)  # whatever the tests have started, too
        if not done:
            os.kill(self.pid, signal.SIGKILL)  # it may not have its own group yet
            os.waitpid(self.pid, 0)
        if self.original is not None:
            self.file.write_text(self.original, encoding="utf-8")
        return self._judge(os.waitstatus_to_exitcode(status) if done else None, seconds)

    def _judge(self, status: int | None, seconds: float) -> Outcome:
        folder = self.worker.folder
        if status is None:
            return Outcome(True, "timeout", seconds, folder)
        if status == 0:
            return Outcome(False, "", seconds, folder)
        report = folder / "failed.txt"
        by = report.read_text() if report.exists() else f"exit status {status}"
        return Outcome(True, by, seconds, folder)


def _run_tests(folder: Path, tests: list[str]) -> None:
    """In the fork: run tests in a copy of the project and end with pytest's status."""
    status = 99
    try:
        os.setsid()
        output = os.open(folder / "output.txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        for name in ("failed.txt", "seconds.json"):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / ".hypothesis", ignore_errors=True)
        for name in [n for n in sys.modules if n.partition(".")[0] in ("geoloc", "tests")]:
            del sys.modules[name]
        sys.path[:] = [str(folder), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
        options = ["-x", "-q", "--tb=short", "--hypothesis-seed=0", "-o", "addopts="]
        for plugin in ("cacheprovider", "xdist", "anyio", "unraisableexception"):
            options += ["-p", f"no:{plugin}"]
        options += [f"--basetemp={folder}/tmp", f"--rootdir={folder}"]
        status = int(pytest.main([*options, *tests], plugins=[_Plugin(folder)]))
        sys.stdout.flush()
    finally:
        os._exit(status)


def cpu_seconds() -> float:
    """Processor time of this process and of the children it waited for: other work on the machine
    makes no test slow."""
    return sum(os.times()[:4])


class _Plugin:
    """Tells which test failed first and what each test takes; failures are not shrunk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: dict[str, float] = {}
        self.fixtures: dict[str, float] = {}
        self.uses: dict[str, list[str]] = {}
        self.failed: set[str] = set()

    def pytest_collection(self, session) -> None:
        from hypothesis import Phase, settings

        # After the project's own profile is loaded, before test modules are imported.
        settings.register_profile(
            "mutation", settings(phases=(Phase.explicit, Phase.generate), database=None)
        )
        settings.load_profile("mutation")

    def pytest_collection_finish(self, session) -> None:
        self.uses = {item.nodeid: list(item.fixturenames) for item in session.items}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        began = cpu_seconds()
        result = yield
        self.fixtures[fixturedef.argname] = cpu_seconds() - began
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        began = cpu_seconds()
        try:
            return (yield)
        finally:
            self.calls[item.nodeid] = cpu_seconds() - began

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed:
            self.failed.add(report.nodeid)
            self._failed(report.nodeid)

    def pytest_collectreport(self, report) -> None:
        if report.failed:
            self._failed(f"{report.nodeid} (import)")

    def _failed(self, name: str) -> None:
        if not (self.folder / "failed.txt").exists():
            (self.folder / "failed.txt").write_text(name)

    def pytest_sessionfinish(self) -> None:
        """CPU seconds of each test by itself, its call and the slowest of its fixtures; null where
        it failed."""
        seconds = {
            test: call + max((self.fixtures.get(name, 0.0) for name in self.uses[test]), default=0)
            for test, call in self.calls.items()
        }
        seconds |= dict.fromkeys(self.failed)
        (self.folder / "seconds.json").write_text(json.dumps(seconds))


def import_large_packages() -> None:
    """What most tests import and no mutant changes; nothing is computed with it before forks."""
    sys.dont_write_bytecode = True
    os.environ |= {
        "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    sys.path.insert(0, str(ROOT / "scripts"))
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401  before TensorFlow, see tests/conftest.py
    import geoloc.keras_models  # noqa: F401  its environment, before Keras is imported

    import cv2  # isort: skip  # noqa: F401
    import h5py  # noqa: F401
    import hypothesis.extra.numpy  # noqa: F401
    import keras.src.legacy.preprocessing.image  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import scipy.stats  # noqa: F401
    import shapely  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import snakemake.api  # noqa: F401
    import splitfolders  # noqa: F401
    import torchvision  # noqa: F401
    import transformers  # noqa: F401
    import yaml  # noqa: F401

    gc.freeze()  # forks need not look for garbage among all this


def keep_finished_run(folder: Path) -> bool:
    """Make a finished run in `folder` once, with unchanged code, for tests of all forks.

    Returns whether it was made; without it, each fork makes its own.
    """
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            folder.mkdir(parents=True)
            output = os.open(folder / "output.txt", os.O_CREAT | os.O_WRONLY)
            os.dup2(output, 1)
            os.dup2(output, 2)
            from tests.finished_run import finish

            finish(folder)
            status = 0
        finally:
            if status:
                traceback.print_exc()
                sys.stderr.flush()
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    if ended == 0:
        os.environ[KEPT_RUN] = str(folder / "results/finished")
    return ended == 0


Task = tuple[str, str | None, list[str], float]
"""Path and other text of a file, the tests to run, and their limit in seconds."""


def run_all(
    tasks: Iterable[Task], workers: list[Worker], told: Callable[[int, Outcome], None]
) -> None:
    """Run tasks on all workers; `told` gets the number of each task and its outcome."""
    waiting: Iterator[tuple[int, Task]] = iter(enumerate(tasks))
    free, running = list(workers), {}
    while True:
        while free and (item := next(waiting, None)) is not None:
            number, task = item
            running[number] = free.pop().start(*task)
        if not running:
            return
        for number, run in list(running.items()):
            if (outcome := run.outcome()) is not None:
                free.append(running.pop(number).worker)
                told(number, outcome)
        time.sleep(0.01)
