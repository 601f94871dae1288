"""A GPU that was given and can't be used: by which variable, and why."""

import pytest

from geoloc.gpus import NoGpu, check_given_gpu, driver_version, given_gpus, why_unusable


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
