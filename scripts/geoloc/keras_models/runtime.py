"""TensorFlow's seed, threads, device and precision."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from geoloc.errors import InputError
from geoloc.gpus import (
    check_given_gpu,
    describe_cpu,
    driver_version,
    gpu_memory,
    why_unusable,
)

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


def check_device(allow_cpu: bool = True) -> None:
    """Log what TensorFlow computes on: device, memory, driver and versions.

    Raises:
        NoGpu: if Slurm gave the job a GPU that TensorFlow can't use, unless `allow_cpu`.
    """
    import keras
    import tensorflow as tf

    cuda, driver = cuda_version(), driver_version()
    name = f"TensorFlow {tf.__version__} (CUDA {cuda or 'none'}), Keras {keras.__version__}"
    gpus = tf.config.list_physical_devices("GPU")
    for number, gpu in enumerate(gpus):
        memory = gpu_memory(number)
        about = tf.config.experimental.get_device_details(gpu)
        log.info(
            "%s computes on %s, %s, compute capability %s, driver %s",
            name,
            about.get("device_name", gpu.name),
            f"{memory / 2**30:.1f} GiB" if memory else "unknown memory",
            ".".join(map(str, about.get("compute_capability", "?"))),
            driver,
        )
    if gpus:
        return
    reason = why_unusable(cuda, driver)
    check_given_gpu(name, reason, allow_cpu)
    if driver:
        log.warning("%s leaves the GPU of this machine unused: %s", name, reason)
    log.info("%s computes on the CPU (%s)", name, describe_cpu())


def cuda_version() -> str | None:
    """Return the version of the CUDA libraries that TensorFlow loads; None without them, as in
    `.venv`."""
    try:
        return version("nvidia-cuda-runtime-cu12")
    except PackageNotFoundError:
        return None


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
