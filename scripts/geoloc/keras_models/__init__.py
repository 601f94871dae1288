"""Keras models: building, training and predicting.

Importing the package sets the environment that TensorFlow reads when it is first imported, and
imports it.
"""

import os

from geoloc.logs import native_stderr_hidden

# Even as errors, TensorFlow logs only that there is no GPU; real errors are exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Convolutions on a CPU run twice as fast with oneDNN.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Another job may have the same GPU.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

# Its libraries greet on stderr whatever the level above: oneDNN is on, there is no CUDA driver.
with native_stderr_hidden():
    import tensorflow  # noqa: F401
