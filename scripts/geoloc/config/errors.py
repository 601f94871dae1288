"""How mistakes in the configuration are reported."""

from __future__ import annotations

import datetime
import json

from geoloc.errors import GeolocError


class ConfigError(GeolocError, ValueError):
    """A mistake in the configuration. The message names the key and says what to write."""


def shown(value: object) -> str:
    """Return a value for messages: null, true, false and dates as in YAML, text in quotes."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return repr(value)
