"""The configuration: read, completed and checked against its schema before anything runs."""

from geoloc.config.check import check_config, default_config
from geoloc.config.entries import MATRIX, order_entries
from geoloc.config.errors import ConfigError
from geoloc.config.files import (
    check_keys_once,
    damaged_config,
    read_config,
    read_written_config,
    write_config,
)
from geoloc.config.missing import file_mistakes, missing_paths
from geoloc.config.paths import (
    PATH_KEYS,
    files_of,
    link_name,
    place_paths,
    replaced_part,
    set_link,
)
from geoloc.config.prompts import prompt_mistake
from geoloc.config.schema import SCHEMA, load_schema

__all__ = [
    "MATRIX", "PATH_KEYS", "SCHEMA", "ConfigError", "check_config", "check_keys_once",
    "damaged_config", "default_config", "file_mistakes", "files_of", "link_name",
    "load_schema", "missing_paths", "order_entries", "place_paths", "prompt_mistake", "read_config",
    "read_written_config", "replaced_part", "set_link", "write_config",
]  # fmt: skip
