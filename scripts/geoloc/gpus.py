"""The GPUs that a job was given, the driver, and the reason why a framework can't use them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from geoloc.errors import GeolocError

OLDEST_DRIVERS = {13: 580, 12: 525}
"""Oldest NVIDIA driver on Linux by the major version of CUDA ("CUDA Compatibility", section "Minor
Version Compatibility")."""
DRIVER = Path("/proc/driver/nvidia/version")


class NoGpu(GeolocError, RuntimeError):
    """A job was given a GPU and can't use it."""


def given_gpus(environment: Mapping[str, str] = os.environ) -> str:
    """Return the variable by which Slurm gave this job a GPU, or "" if it did not."""
    if not environment.get("SLURM_JOB_ID"):
        return ""
    for name in ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "CUDA_VISIBLE_DEVICES"):
        if (value := environment.get(name, "")) not in ("", "-1", "NoDevFiles"):
            return f"{name}={value}"
    return ""


def driver_version(path: Path = DRIVER) -> str:
    """Return the version of the NVIDIA driver, or "" without one."""
    try:
        found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", path.read_text(errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


def why_unusable(cuda: str | None, driver: str) -> str:
    """Say why a framework sees no GPU.

    Args:
        cuda: the CUDA version that it comes with, such as `13.0`; None if it has no CUDA.
        driver: see `driver_version`.
    """
    if not cuda:
        return "it comes without CUDA; run the jobs in containers (docs/cluster.md)"
    needed = OLDEST_DRIVERS.get(int(cuda.partition(".")[0]))
    if not driver:
        return f"this node has no NVIDIA driver; CUDA {cuda} needs driver {needed} or newer"
    if needed and int(driver.partition(".")[0]) < needed:
        return f"driver {driver} is too old; CUDA {cuda} needs {needed} or newer"
    return f"it finds no GPU with driver {driver} and CUDA {cuda}; look at nvidia-smi on this node"


def check_given_gpu(framework: str, reason: str, allow_cpu: bool) -> None:
    """Stop a job that Slurm gave a GPU which its framework can't use.

    Args:
        framework: its name and version.
        reason: see `why_unusable`.
        allow_cpu: whether to use the CPU instead.

    Raises:
        NoGpu: with the reason.
    """
    if (given := given_gpus()) and not allow_cpu:
        raise NoGpu(
            f"Slurm gave this job a GPU ({given}), but {framework} can't use it: {reason}. To "
            "compute on the CPU, set allow_cpu: true in the configuration"
        )
