"""A GPU that was given and can't be used: by which variable, and why."""

import ctypes
import os
from types import SimpleNamespace

import pytest

from geoloc import gpus
from geoloc.gpus import (
    NoGpu,
    check_given_gpu,
    describe_cpu,
    describe_machine,
    driver_version,
    given_gpus,
    gpu_memory,
    why_unusable,
)


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        ({}, ""),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ""),  # of a workstation
        ({"SLURM_JOB_ID": "7"}, ""),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "NoDevFiles"}, ""),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1"}, "SLURM_JOB_GPUS=1"),
        ({"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1"}, "CUDA_VISIBLE_DEVICES=0,1"),
    ],
)
def test_only_slurm_gives_a_gpu(environment, given):
    assert given_gpus(environment) == given


def test_the_driver_is_read_from_the_kernel(tmp_path):
    path = tmp_path / "version"
    assert driver_version(path) == ""
    path.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12\n")
    assert driver_version(path) == "535.183.01"


@pytest.mark.parametrize(
    ("cuda", "driver", "reason"),
    [
        (None, "580.65", "comes without CUDA; run the jobs in containers"),
        ("13.0", "", "no NVIDIA driver; CUDA 13.0 needs driver 580 or newer"),
        ("13.0", "535.183.01", "driver 535.183.01 is too old; CUDA 13.0 needs 580 or newer"),
        ("12.9.79", "535.183.01", "look at nvidia-smi"),
    ],
)
def test_the_reason_names_the_driver_that_is_needed(cuda, driver, reason):
    assert reason in why_unusable(cuda, driver)


def test_the_job_stops_with_the_reason_unless_the_cpu_is_allowed(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    with pytest.raises(NoGpu, match=r"\(SLURM_JOB_GPUS=0\), but X can't use it: old. .*allow_cpu"):
        check_given_gpu("X", "old", allow_cpu=False)
    check_given_gpu("X", "old", allow_cpu=True)
    monkeypatch.delenv("SLURM_JOB_GPUS")
    check_given_gpu("X", "old", allow_cpu=False)


def put(pointer, value: int) -> int:
    """Write where a C function would."""
    pointer._obj.value = value
    return 0


def test_the_memory_of_a_gpu_is_what_its_driver_tells(monkeypatch):
    sizes = [40 << 30, 85 << 30]
    driver = SimpleNamespace(
        cuInit=lambda flags: 0,
        cuDeviceGet=lambda device, n: put(device, 5 + n) if n < len(sizes) else 101,
        cuDeviceTotalMem_v2=lambda total, device: put(total, sizes[device.value - 5]),
    )
    monkeypatch.setattr(ctypes, "CDLL", {"libcuda.so.1": driver}.__getitem__)
    assert [gpu_memory(number) for number in range(3)] == [40 << 30, 85 << 30, None]
    driver.cuInit = lambda flags: 100
    assert gpu_memory(0) is None
    del driver.cuInit
    assert gpu_memory(0) is None


def test_without_a_driver_no_memory_of_a_gpu_is_known(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert gpu_memory(0) is None


def test_the_cpu_is_named_with_the_memory_of_the_machine(tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: AMD EPYC 7R13\nprocessor\t: 1\n")
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    assert describe_cpu(path) == f"AMD EPYC 7R13, machine of {total:.1f} GiB"
    assert describe_cpu(tmp_path / "none").startswith(os.uname().machine)


def test_a_machine_is_described_with_its_gpu_and_driver(monkeypatch):
    monkeypatch.setattr(gpus, "driver_version", lambda: "")
    assert describe_machine() == f"{describe_cpu()}; no NVIDIA driver"
    monkeypatch.setattr(gpus, "driver_version", lambda: "580.65")
    monkeypatch.setattr(gpus, "gpu_memory", {0: 85 << 30}.get)
    assert describe_machine().endswith(" GiB; GPU of 85.0 GiB, driver 580.65")
    monkeypatch.setattr(gpus, "gpu_memory", lambda number: None)
    assert describe_machine().endswith("; GPU of unknown memory, driver 580.65")
