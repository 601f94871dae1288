"""What a job computes on: the GPUs that it was given, the driver, the reason why a framework can't
use them, and the CPU."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from geoloc.errors import GeolocError

OLDEST_DRIVERS = {13: 580, 12: 525}
"""Oldest NVIDIA driver on Linux by the major version of CUDA ("CUDA Compatibility", section "Minor
Version Compatibility")."""
DRIVER = Path("/proc/driver/nvidia/version")
CPU = Path("/proc/cpuinfo")


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


def gpu_memory(number: int) -> int | None:
    """Return the memory of a GPU in bytes, as its driver tells it; None if that can't be asked.

    TensorFlow has no way to ask for it.

    Args:
        number: of the GPU among those that CUDA_VISIBLE_DEVICES shows.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        device, total = ctypes.c_int(), ctypes.c_size_t()
        failed = (
            driver.cuInit(0)
            or driver.cuDeviceGet(ctypes.byref(device), number)
            or driver.cuDeviceTotalMem_v2(ctypes.byref(total), device)
        )
    except (OSError, AttributeError):  # no driver, or one without this function
        return None
    return None if failed else total.value


def describe_cpu(path: Path = CPU) -> str:
    """Return the name of the CPU and the memory of the machine: `AMD EPYC, machine of 23.5 GiB`."""
    try:
        found = re.search(r"^model name\s*: *(\S.*)$", path.read_text(errors="replace"), re.M)
    except OSError:
        found = None
    name = found[1].strip() if found else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{name}, machine of {memory / 2**30:.1f} GiB"


def describe_machine() -> str:
    """Return what a job can use whose framework is unknown: CPU, memory, first GPU and driver."""
    driver, memory = driver_version(), gpu_memory(0)
    size = f"{memory / 2**30:.1f} GiB" if memory else "unknown memory"
    gpu = f"GPU of {size}, driver {driver}" if driver else "no NVIDIA driver"
    return f"{describe_cpu()}; {gpu}"


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
