"""The log tells what TensorFlow computes on."""

import pytest

from geoloc.keras_models import runtime


@pytest.mark.parametrize(
    ("gpus", "device", "message"),
    [
        ([], "nvidia0", "run the jobs in containers"),
        ([], "null", "computes on the CPU"),
        (["GPU:0"], "nvidia0", "computes on 1 GPU"),
    ],
)
def test_the_log_says_what_is_computed_on(gpus, device, message, tmp_path, caplog):
    (tmp_path / device).touch()
    with caplog.at_level("INFO"):
        runtime.log_device(gpus, tmp_path)
    assert message in caplog.text
