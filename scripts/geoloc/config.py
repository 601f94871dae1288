"""The configuration: checked against its schema, with messages that say what to write."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jsonschema
import yaml


class ConfigError(ValueError):
    """The configuration cannot be used; the message says which key and what to write."""


def load_schema(path: str | Path) -> dict:
    """Read a JSON schema that is written in YAML."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def check_config(config: dict, schema: dict) -> None:
    """Fill in the defaults of `schema` and check `config` against it, in place.

    Raises ConfigError with a line for every mistake: the key, what is wrong, what it means.
    """
    _set_defaults(config, schema, schema)
    validator = jsonschema.Draft202012Validator(schema)
    errors = sorted(validator.iter_errors(config), key=lambda error: list(map(str, error.path)))
    lines = [_describe(error) for error in errors]
    if not errors and abs(sum(config["index"]["split"]) - 1) > 1e-6:
        lines.append("index.split: the three shares must add up to 1")
    lines += _name_clashes(config) if not errors else []
    if lines:
        raise ConfigError("the configuration has mistakes:\n  " + "\n  ".join(lines))


def _name_clashes(config: dict) -> list[str]:
    """Names and titles of benchmarks that stand for something else already."""
    used = {"street", "original", "weighted_base", "weighted_custom", *config["sources"]}
    lines = [
        f"benchmarks.{name}: this name is in use; give the benchmark another"
        for name in config["benchmarks"]
        if name in used
    ]
    entries = {name: entry for name, entry in config["benchmarks"].items() if entry}
    titles = Counter(entry["title"] or name for name, entry in entries.items())
    return lines + [
        f"benchmarks: {count} have the title {title!r}; give each its own"
        for title, count in titles.items()
        if count > 1
    ]


def _resolve(schema: dict, root: dict) -> dict:
    for option in schema.get("anyOf", []):
        schema = option if "$ref" in option else schema
    if "$ref" in schema:
        for part in schema["$ref"].removeprefix("#/").split("/"):
            root = root[part]
        return root
    return schema


def _set_defaults(config: dict, schema: dict, root: dict) -> None:
    schema = _resolve(schema, root)
    for key, entry in schema.get("properties", {}).items():
        if "default" in entry:
            default = entry["default"]
            config.setdefault(key, default.copy() if isinstance(default, dict | list) else default)
    for key, value in config.items():
        entry = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        if isinstance(value, dict) and isinstance(entry, dict):
            _set_defaults(value, entry, root)


def _describe(error: jsonschema.ValidationError) -> str:
    while error.context:  # of the alternatives, the one that the user seems to have meant
        error = max(
            error.context,
            key=lambda inner: (len(inner.absolute_path), inner.validator_value != "null"),
        )
    key = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "additionalProperties":
        known = ", ".join(error.schema.get("properties", {}))
        return f"{key}: {error.message.split(' (')[-1].rstrip(')')}; known keys: {known}"
    expected = {
        "enum": lambda: "write one of " + ", ".join(map(str, error.validator_value)),
        "type": lambda: f"write {' or '.join(_as_list(error.validator_value))}",
        "required": lambda: error.message,
        "pattern": lambda: f"write text that matches {error.validator_value}",
    }.get(error.validator, lambda: error.message)()
    meaning = error.schema.get("description", "")
    value = "" if error.validator == "required" else f"{error.instance!r} will not do; "
    return f"{key}: {value}{expected}" + (f" ({meaning})" if meaning else "")


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
