"""The log says what TensorFlow computes on, and a GPU that it can't use stops a job under Slurm."""

import re

import pytest
import tensorflow as tf

from geoloc.gpus import NoGpu
from geoloc.keras_models import runtime


def test_the_log_says_what_is_computed_on(caplog, monkeypatch):
    monkeypatch.setattr(runtime, "driver_version", lambda: "570.12")
    with caplog.at_level("INFO"):
        runtime.check_device()
    assert "(CUDA none), Keras 3." in caplog.text
    assert "leaves the GPU of this machine unused: it comes without CUDA" in caplog.text
    assert re.search(r"computes on the CPU \(\S.*, machine of \d+\.\d GiB\)", caplog.text)


def test_a_gpu_is_logged_with_its_memory_and_driver(caplog, monkeypatch):
    monkeypatch.setattr(runtime, "driver_version", lambda: "570.12")
    monkeypatch.setattr(runtime, "gpu_memory", {0: 85 << 30, 1: None}.get)
    gpus = [tf.config.PhysicalDevice(f"/physical_device:GPU:{n}", "GPU") for n in (0, 1)]
    about = {"device_name": "NVIDIA H100", "compute_capability": (9, 0)}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: about)
    with caplog.at_level("INFO"):
        runtime.check_device(allow_cpu=False)
    end = "compute capability 9.0, driver 570.12"
    assert f"computes on NVIDIA H100, 85.0 GiB, {end}" in caplog.text
    assert f"computes on NVIDIA H100, unknown memory, {end}" in caplog.text


def test_a_gpu_from_slurm_that_tensorflow_cannot_use_stops_the_job(monkeypatch):
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NoGpu, match=r"TensorFlow 2\..* can't use it: it comes without CUDA; run"):
        runtime.check_device(allow_cpu=False)
    runtime.check_device(allow_cpu=True)
