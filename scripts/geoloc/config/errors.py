"""How a mistake in the configuration is told."""

from __future__ import annotations

import json

from geoloc.errors import GeolocError


class ConfigError(GeolocError, ValueError):
    """A mistake in the configuration. The message names the key and says what to write."""


def shown(value: object) -> str:
    """A value for messages: null, true and false as YAML writes them, text in quotes."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)
