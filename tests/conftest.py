"""What several tests share."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import hypothesis
import pytest

# Two workers share the cores. Threads of PyTorch that wait for each other spin, at half as much CPU
# time again where the cores are busy; those of TensorFlow cost a tenth.
if "PYTEST_XDIST_WORKER" in os.environ:
    for name in ("OMP_NUM", "OPENBLAS_NUM", "TF_NUM_INTRAOP", "TF_NUM_INTEROP"):
        os.environ.setdefault(f"{name}_THREADS", "1")

# Tests of PyTorch and of TensorFlow share a process; jobs never do. Triton, which PyTorch loads
# when it first needs it, crashes if TensorFlow's libraries are there before it.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

ROOT = Path(__file__).parents[1]

# A busy machine is no fault of the code.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")

# These need programs of their own and take long: `make test-slurm` and `make test-containers`.
collect_ignore = [n for n in ("slurm", "containers") if f"TEST_{n.upper()}" not in os.environ]

# The files of tests that take longest, longest first. They start first, so that at the end neither
# worker is left with one of them; pytest-xdist itself would start the files with most tests.
LONGEST = (
    "workflow/test_workflow.py", "reference/test_photos.py", "keras_models/test_training.py",
    "workflow/test_reruns.py", "reference/test_segmentation.py", "verify/test_verify.py",
    "keras_models/test_build.py", "test_environment.py", "workflow/test_experiments.py",
    "keras_models/test_multi_gpu.py", "keras_models/test_training_stops.py",
    "keras_models/test_applications.py", "segmentation/test_demo_sam.py",
    "segmentation/test_gpu_benchmark.py", "segmentation/test_demo_objects.py",
    "report/test_browser.py", "explore/test_browser.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order = {ROOT / "tests" / name: place for place, name in enumerate(LONGEST)}
    gone = [str(path) for path in order if not path.exists()]
    assert not gone, f"{gone} in LONGEST of {__file__}: name files that exist"
    items.sort(key=lambda item: order.get(item.path, len(order)))


@pytest.fixture(scope="session")
def reference() -> Path:
    """Published lists and real photographs, which lie beside the project on some machines."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"the reference data are not at {folder}")
    return folder
