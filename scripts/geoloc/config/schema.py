"""The schema of the configuration: its defaults, and a line for each violation."""

from __future__ import annotations

import copy
import datetime
import math
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import yaml

from geoloc.config.errors import shown

SCHEMA = "config/config.schema.yaml"  # in the root of the project
# The schema is read whenever Snakemake starts; PyYAML's own parser takes seven times as long.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


# Types of the schema, for messages.
TYPES = {
    "string": "text",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys",
    "null": "null",
}


# What YAML reads from text without quotes.
SCALARS = (bool, int, float, datetime.date)

MOVED = {
    "segment": "segmentations.sam",
    "mask": "scores.objects",
    "score": "scores.objects",
    "benchmarks": "test_sets",
    "benchmark_images": "test_set_images",
    "backbone_weights": "weights",
    "population_statistics": "precise_batch_norm",
    "leakage": "check_leakage",  # in threads
}


def load_schema(path: str | Path) -> dict:
    """Read a JSON schema written in YAML."""
    return yaml.load(Path(path).read_text(encoding="utf-8"), LOADER)


def set_defaults(config: dict, schema: dict, root: dict) -> None:
    """Set missing keys to the defaults of the schema, at every level."""
    schema = resolve(schema, root, config)
    for key, entry in schema.get("properties", {}).items():
        if "default" in entry:
            config.setdefault(key, copy.deepcopy(entry["default"]))
    for key, value in config.items():
        entry = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        if isinstance(value, dict) and isinstance(entry, dict):
            set_defaults(value, entry, root)


def resolve(schema: dict, root: dict, value: object = None) -> dict:
    """Return the schema of a value, after following references and its kind."""
    for option in schema.get("anyOf", []):
        schema = option if "$ref" in option else schema
    if "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return resolve(found, root, value)
    if "kinds" in schema and isinstance(value, dict):
        return resolve(_kind_of(value, schema["kinds"]) or {}, root, value)
    return schema


def _kind_of(entry: dict, kinds: dict) -> dict | None:
    """Return the schema of an entry by its kind; None if no kind has this name."""
    kind = entry.get("kind")
    return kinds.get(kind) if isinstance(kind, str) else None


def _kinds(validator, kinds: dict, instance: object, schema: dict) -> Iterator:
    """Validate the keyword `kinds`: the schema of an entry by its kind; null is valid."""
    if instance is None:
        return
    if not isinstance(instance, dict):
        yield jsonschema.ValidationError(
            "", validator="type", validator_value="object", instance=instance, schema=schema
        )
    elif (kind := _kind_of(instance, kinds)) is None:
        yield jsonschema.ValidationError(
            "",
            validator="enum",
            validator_value=list(kinds),
            path=["kind"],
            instance=instance.get("kind"),
            schema=schema,
        )
    else:
        yield from validator.descend(instance, kind)


def _is_integer(checker: object, value: object) -> bool:
    """Reject 64.0, which JSON schema counts as an integer and the code does not."""
    return isinstance(value, int) and not isinstance(value, bool)


Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"kinds": _kinds},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def describe(error: jsonschema.ValidationError) -> str:
    """Return one line for a mistake: the key, what is wrong, and what to write."""
    while error.context:  # the alternative that the user probably meant
        error = max(
            error.context,
            key=lambda inner: (len(inner.absolute_path), inner.validator_value != "null"),
        )
    key = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = [str(name) for name in error.instance if name not in known]
        moved = "".join(f" ({n} is now {MOVED[n]})" for n in unknown if n in MOVED)
        return f"{key}: unknown key {', '.join(unknown)}{moved}; write one of {', '.join(known)}"
    if error.validator == "required":
        return _missing_keys(key, error)
    limit = error.validator_value
    expected = {
        "enum": lambda: "must be one of " + ", ".join(map(shown, limit)),
        "type": lambda: f"must be {' or '.join(TYPES[kind] for kind in _as_list(limit))}",
        "const": lambda: f"must be {shown(limit)}",
        "uniqueItems": lambda: "must not name anything twice",
        "pattern": lambda: f"must match {limit}",
        "minimum": lambda: f"must be at least {limit}",
        "maximum": lambda: f"must be at most {limit}",
        "exclusiveMinimum": lambda: f"must be above {limit}",
        "exclusiveMaximum": lambda: f"must be below {limit}",
        "multipleOf": lambda: f"must be a multiple of {limit}",
        "minLength": lambda: "must not be empty",
        "maxLength": lambda: f"must have at most {limit} characters",
        "minItems": lambda: f"must have at least {limit} entries",
        "maxItems": lambda: f"must have at most {limit} entries",
        "minProperties": lambda: "must not be empty",
    }.get(error.validator, lambda: error.message)()
    meaning = error.schema.get("description", "")
    told = f"{key}: {expected}, got {shown(error.instance)}{_remedy(error)}"
    return told + (f" ({meaning})" if meaning else "")


def _missing_keys(place: str, error: jsonschema.ValidationError) -> str:
    """Name the required keys that an entry does not have, and what they mean."""
    known = error.schema.get("properties", {})
    meanings = {n: known.get(n, {}).get("description") for n in error.validator_value}
    told = [
        f"{name} ({meaning})" if meaning else name
        for name, meaning in meanings.items()
        if name not in error.instance
    ]
    return f"{place}: missing {' and '.join(told)}; write it"


def _remedy(error: jsonschema.ValidationError) -> str:
    """Return what to write instead of an almost right value; empty if unknown."""
    value, limit = error.instance, error.validator_value
    if error.validator == "type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if error.validator in ("maximum", "exclusiveMaximum") and limit == 1 and 1 < value <= 100:
        return f"; write {value / 100:g} for {value:g} %"
    if error.validator == "type" and limit == "boolean" and str(value).lower() in ("true", "false"):
        *above, name = error.absolute_path
        option = "" if above else f", or on the command line --config {name}={value.title()}"
        return f"; write {value.lower()}{option}"
    if error.validator == "type" and value == "null":
        return "; write null without quotes, in a file: --config reads what is in braces as text"
    if error.validator == "type" and isinstance(value, str):
        return _number_in(value, _as_list(limit))
    if error.validator == "type" and "string" in _as_list(limit) and isinstance(value, SCALARS):
        return "; write it in quotes"
    return ""


def _number_in(text: str, types: list[str]) -> str:
    """Return what to write instead of text that has a number of one of these types, or ""."""
    try:
        percent = text.rstrip().endswith("%")
        number = float(text.replace(",", ".").rstrip(" %")) / (100 if percent else 1)
    except ValueError:
        return ""
    if "integer" in types and number.is_integer():
        return f"; write {int(number)}"
    return f"; write {number!r}" if "number" in types and math.isfinite(number) else ""


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
