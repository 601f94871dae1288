"""What several tests share."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import hypothesis
import pytest

# Two workers share the cores. Threads that wait for each other spin, which costs half as much CPU
# time again where the cores are busy.
if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "OPENBLAS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

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


@pytest.fixture(scope="session")
def reference() -> Path:
    """Published lists and real photographs, which lie beside the project on some machines."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"the reference data are not at {folder}")
    return folder
