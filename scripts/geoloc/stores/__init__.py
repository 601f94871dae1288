"""Every HDF5 layout of the project: images, segments, masks and arrays.

A store is written under a temporary name and renamed when complete. Whoever reads one notices any
difference from what was written; see `base` for its digests, `layouts` for its datasets and
`values` for what they may hold.
"""

from geoloc.stores.arrays import Arrays, write_arrays
from geoloc.stores.base import (
    SCHEMA_VERSION,
    config_hash,
    create_store,
    open_store,
    read_config,
    read_digest,
    software_versions,
)
from geoloc.stores.check import check_store
from geoloc.stores.errors import StoreError
from geoloc.stores.images import read_image_columns, read_images, write_images
from geoloc.stores.layouts import SEGMENT_COLUMNS
from geoloc.stores.manifests import manifest_of
from geoloc.stores.pairs import read_images_and_scores
from geoloc.stores.scores import read_scores, write_scores
from geoloc.stores.segments import read_segments, write_segments
from geoloc.stores.values import segments_problem

__all__ = [
    "SCHEMA_VERSION",
    "SEGMENT_COLUMNS",
    "Arrays",
    "StoreError",
    "check_store",
    "config_hash",
    "create_store",
    "manifest_of",
    "open_store",
    "read_config",
    "read_digest",
    "read_image_columns",
    "read_images",
    "read_images_and_scores",
    "read_scores",
    "read_segments",
    "segments_problem",
    "software_versions",
    "write_arrays",
    "write_images",
    "write_scores",
    "write_segments",
]
