"""TensorFlow's seed, threads, device and precision."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from geoloc.errors import InputError

log = logging.getLogger(__name__)


def setup(seed: int, threads: int = 0) -> None:
    """Make TensorFlow deterministic for the same seed, threads and machine.

    Args:
        seed: seed of the generators of Python, NumPy and TensorFlow.
        threads: CPU threads of TensorFlow; with 0, TensorFlow decides.

    Raises:
        RuntimeError: if TensorFlow already runs with another number of threads.
    """
    import cv2
    import keras
    import tensorflow as tf

    threading = tf.config.threading
    if threading.get_intra_op_parallelism_threads() != threads:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    tf.config.experimental.enable_op_determinism()
    cv2.setNumThreads(1)  # one image is too small to split, and the model runs in parallel
    keras.utils.set_random_seed(seed)
    log_device(tf.config.list_physical_devices("GPU"))


def log_device(gpus: Sequence[object], devices: Path = Path("/dev")) -> None:
    """Log the device that TensorFlow uses, and warn if it leaves a GPU unused."""
    if gpus:
        log.info("TensorFlow computes on %d GPU(s)", len(gpus))
    elif any(devices.glob("nvidia[0-9]*")):
        log.warning(
            "there is a GPU here, but TensorFlow cannot use it and computes on the CPU: in .venv "
            "it comes without CUDA; run the jobs in containers to use it (docs/cluster.md)"
        )
    else:
        log.info("TensorFlow computes on the CPU")


PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Let models built in the `with` block compute in a precision; their variables stay float32.

    With `mixed_float16`, Keras scales the loss so that small gradients do not vanish. Models built
    after the block are unaffected.

    Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018.

    Raises:
        InputError: if the name is not in `PRECISIONS`.
    """
    import keras

    if name not in PRECISIONS:
        raise InputError(f"precision is one of {', '.join(PRECISIONS)}, not {name!r}")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
