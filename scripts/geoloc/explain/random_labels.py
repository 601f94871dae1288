"""Training images with labels that mean nothing: what a network then looks at is no explanation.

A map that is the same for a network that learned random labels shows the image, or what any
training finds in it, and not what tells countries apart (Adebayo et al., "Sanity Checks for
Saliency Maps", NeurIPS 2018, section 4.2).
"""

from __future__ import annotations

import numpy as np

from geoloc.stores import Arrays


class ShuffledLabels:
    """Images with their labels in random order, so that each label keeps its share.

    Has what training needs of `geoloc.stores.Arrays`: image_id and label (n,) str, digest, and
    `read`.

    Args:
        arrays: n images.
        seed: of the order.
    """

    def __init__(self, arrays: Arrays, seed: int) -> None:
        self._arrays = arrays
        self.image_id = arrays.image_id
        self.label = np.random.default_rng([seed, 3]).permutation(arrays.label)
        self.digest = f"{arrays.digest} with the labels of the seed {seed}"

    def __len__(self) -> int:
        return len(self.label)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels and scores of the given rows, see `geoloc.stores.Arrays.read`."""
        return self._arrays.read(rows)
