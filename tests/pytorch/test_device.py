"""The log says what PyTorch computes on, and a GPU that it can't use stops a job under Slurm."""

import re
from types import SimpleNamespace

import pytest
import torch

from geoloc.errors import InputError
from geoloc.gpus import NoGpu
from geoloc.pytorch import device


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


def test_the_cpu_is_logged_with_threads_and_memory(without_gpu, caplog):
    with caplog.at_level("INFO"):
        device.check_device()
    text = r"PyTorch \S+ \(CUDA 13.0\) computes on the CPU with \d+ threads? \(\S.*\d GiB\)"
    assert re.search(text, caplog.text)


def test_a_gpu_is_logged_with_its_memory_and_driver(monkeypatch, caplog):
    found = SimpleNamespace(name="NVIDIA H100", total_memory=85 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: found)
    monkeypatch.setattr(device, "driver_version", lambda: "580.65")
    with caplog.at_level("INFO"):
        device.check_device(allow_cpu=False)
    end = "computes on NVIDIA H100, 85.0 GiB, compute capability 9.0, driver 580.65"
    assert end in caplog.text


def test_a_gpu_from_slurm_that_pytorch_cannot_use_stops_the_job(without_gpu, monkeypatch):
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_STEP_GPUS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(device, "driver_version", lambda: "535.183.01")
    reason = r"driver 535\.183\.01 is too old; CUDA 13\.0 needs 580 or newer\. .*allow_cpu: true"
    with pytest.raises(NoGpu, match=r"PyTorch \S+ \(CUDA 13.0\) can't use it: " + reason):
        device.check_device(allow_cpu=False)
    device.check_device(allow_cpu=True)


def test_a_device_that_pytorch_does_not_see_is_refused(without_gpu):
    with pytest.raises(InputError, match="'cuda:1': torch sees no GPU; configure 'cpu' or 'auto'"):
        device.choose_device("cuda:1")
    assert device.choose_device("auto") == torch.device("cpu")
