"""The log says what TensorFlow computes on, and a GPU that it can't use stops a job under Slurm."""

import pytest

from geoloc.gpus import NoGpu
from geoloc.keras_models import runtime


def test_the_log_says_what_is_computed_on(caplog, monkeypatch):
    monkeypatch.setattr(runtime, "driver_version", lambda: "570.12")
    with caplog.at_level("INFO"):
        runtime.check_device()
    assert "(CUDA none), Keras 3." in caplog.text
    assert "leaves the GPU of this machine unused: it comes without CUDA" in caplog.text
    assert "computes on the CPU" in caplog.text


def test_a_gpu_from_slurm_that_tensorflow_cannot_use_stops_the_job(monkeypatch):
    for name, value in {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(NoGpu, match=r"TensorFlow 2\..* can't use it: it comes without CUDA; run"):
        runtime.check_device(allow_cpu=False)
    runtime.check_device(allow_cpu=True)
