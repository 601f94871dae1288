"""Every HDF5 layout of the project: images, segments, scores, arrays and explanations.

A store is written under a temporary name and renamed when complete. Readers detect any difference
from what was written. `base` describes the digests, `layouts` the datasets and `values` the values
they may hold.
"""

from geoloc.stores.arrays import Arrays, read_score_arrays, write_arrays, write_score_arrays
from geoloc.stores.base import (
    SCHEMA_VERSION,
    config_hash,
    create_store,
    open_store,
    read_config,
    read_digest,
    software_versions,
)
from geoloc.stores.boxes import read_boxes, write_boxes
from geoloc.stores.check import check_store
from geoloc.stores.datasets import by_name, dataset_arrays, open_score_maps, score_key
from geoloc.stores.errors import StoreError
from geoloc.stores.explanations import (
    Explanation,
    explained_images,
    read_explanations,
    write_explanations,
)
from geoloc.stores.images import read_image_columns, read_images, write_images
from geoloc.stores.layouts import SEGMENT_COLUMNS
from geoloc.stores.lists import list_rows, read_lists, write_list
from geoloc.stores.manifests import manifest_of
from geoloc.stores.pairs import read_images_and_scores
from geoloc.stores.scores import ScoreMaps, read_scores, write_scores
from geoloc.stores.segments import read_segments, write_segments
from geoloc.stores.values import segments_problem

__all__ = [
    "SCHEMA_VERSION",
    "SEGMENT_COLUMNS",
    "Arrays",
    "Explanation",
    "ScoreMaps",
    "StoreError",
    "by_name",
    "check_store",
    "config_hash",
    "create_store",
    "dataset_arrays",
    "explained_images",
    "list_rows",
    "manifest_of",
    "open_score_maps",
    "open_store",
    "read_boxes",
    "read_config",
    "read_digest",
    "read_explanations",
    "read_image_columns",
    "read_images",
    "read_images_and_scores",
    "read_lists",
    "read_score_arrays",
    "read_scores",
    "read_segments",
    "score_key",
    "segments_problem",
    "software_versions",
    "write_arrays",
    "write_boxes",
    "write_explanations",
    "write_images",
    "write_list",
    "write_score_arrays",
    "write_scores",
    "write_segments",
]
