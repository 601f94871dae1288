"""Keras models: building, training and prediction.

Importing the package sets the environment variables that TensorFlow reads on its first import, then
imports it.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from geoloc.logs import native_stderr_hidden

# Even at the level of errors, TensorFlow logs only that there is no GPU; real errors are
# exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# oneDNN makes convolutions on a CPU twice as fast.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ["KERAS_BACKEND"] = "tensorflow"
# Another job may use the same GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


@contextmanager
def _not_imported(*packages: str) -> Iterator[None]:
    """Let packages count as not installed, unless they were imported before."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# Its libraries print to stderr at any log level: oneDNN is on, no CUDA driver found. Keras imports
# packages for its image galleries, scikit-learn wrappers and tables if it can: a third of a job's
# start.
with native_stderr_hidden(), _not_imported("matplotlib", "sklearn", "pandas"):
    import keras
    import tensorflow  # noqa: F401

# Whatever the user's ~/.keras/keras.json says.
keras.config.set_image_data_format("channels_last")
keras.config.set_floatx("float32")
keras.config.set_epsilon(1e-7)
