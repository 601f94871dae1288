"""The configuration, checked against its schema."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Formatter

import jsonschema
import yaml

from geoloc.errors import GeolocError
from geoloc.files import write_text
from geoloc.types import SCORE_SIZE

SCHEMA = "config/config.schema.yaml"  # in the root of the project
OWN_FOLDERS = [("config",), ("demo",), ("containers",)]  # of files that come with the project


# Types of the schema, for messages.
TYPES = {
    "string": "text", "integer": "an integer", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "a mapping of keys", "null": "null",
}  # fmt: skip


class ConfigError(GeolocError, ValueError):
    """A mistake in the configuration. The message names the key and says what to write."""


def load_schema(path: str | Path) -> dict:
    """Read a JSON schema written in YAML."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def write_config(path: str | Path, config: dict) -> None:
    """Write a checked configuration as YAML with every key, for `read_written_config`."""
    plain = json.loads(json.dumps(config, default=str))
    write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, explicit_end=True))


def read_written_config(path: str | Path, schema: dict) -> dict:
    """Read what `write_config` wrote.

    Raises:
        ConfigError: if the file is truncated, is not YAML, or has mistakes.
    """
    text = Path(path).read_bytes().decode("utf-8", "replace")
    if not text.endswith("\n...\n"):
        raise ConfigError("the end of the file is missing")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"it is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ConfigError("it has no keys")
    check_config(config, schema)
    return config


def read_config(configfiles: Sequence[Path]) -> dict:
    """Read config/config.yaml with `configfiles` on top, as Snakemake does, and check it."""
    from snakemake.utils import update_config

    config = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
    for path in configfiles:
        update_config(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    check_config(config, load_schema(SCHEMA))
    return config


def default_config(schema: dict) -> dict:
    """Return the defaults of every key except `sources`, which has none."""
    config: dict = {}
    _set_defaults(config, schema, schema)
    return config


def check_config(config: dict, schema: dict) -> None:
    """Fill in the defaults of `schema` and check `config` against it, in place.

    A CLIP without a title gets one that says where it comes from.

    Raises:
        ConfigError: with one line per mistake: the key, what is wrong, what to write.
    """
    models = config.get("models")
    if isinstance(models, dict) and models.get("contrastive") is True:
        # Snakemake ignores {} in a configuration file on top of another.
        models["contrastive"] = {}
    _set_defaults(config, schema, schema)
    validator = jsonschema.Draft202012Validator(schema)
    errors = sorted(validator.iter_errors(config), key=lambda error: list(map(str, error.path)))
    lines = [_describe(error) for error in errors]
    if not errors and abs(sum(config["index"]["split"]) - 1) > 1e-6:
        lines.append("index.split: the three shares must add up to 1")
    if not errors:
        lines += _size_mistakes(config) + _name_clashes(config)
        lines += _score_mistakes(config) + _prompt_mistakes(config)
    if lines:
        raise ConfigError("the configuration has mistakes:\n  " + "\n  ".join(lines))
    clip = config["models"]["clip"]
    clip["title"] = clip["title"] or ("StreetCLIP" if clip["path"] else "CLIP (trained here)")


def place_paths(config: dict, root: Path, place: Callable[[str], str]) -> dict:
    """Copy a checked configuration, each path where a workflow that uses this as a module has it.

    Args:
        root: folder of the project. Its own files (class list, weights of the demo, containers) are
            taken from there if the working folder does not have them.
        place: gives the path below the module's prefix.
    """
    config = copy.deepcopy(config)

    def move(entry: dict, key: str, place: Callable[[str], str] = place) -> None:
        if entry[key]:
            moved, own = place(entry[key]), root / entry[key]
            shipped = Path(entry[key]).parts[:1] in OWN_FOLDERS and own.exists()
            entry[key] = str(own) if shipped and not Path(moved).exists() else moved

    for source in (*config["sources"].values(), *config["test_sets"].values()):
        if source:
            move(source, "path")
    move(config["segment"], "segmenter_weights")
    move(config["segment"], "classifier_weights")
    move(config["score"], "selected_classes")
    move(config["models"]["transfer"], "backbone_weights")
    move(config["models"]["clip"], "path")
    for name in config["containers"]:
        move(config["containers"], name, str)  # Snakemake adds no prefix to images
    return config


def _size_mistakes(config: dict) -> list[str]:
    """Street sources whose images would differ in size from the masks."""
    return [
        f"sources.{name}.size: must be {SCORE_SIZE}, the size of the masks, got "
        f"{_shown(entry['size'])}; write size: {SCORE_SIZE}, and crop: center if the images are "
        "not square"
        for name, entry in config["sources"].items()
        if entry and entry["size"] != SCORE_SIZE
    ]


def _name_clashes(config: dict) -> list[str]:
    """Names and titles of test sets that are already in use."""
    used = {"street", "original", "weighted_base", "weighted_custom", *config["sources"]}
    lines = [
        f"test_sets.{name}: this name is already in use; rename the test set"
        for name in config["test_sets"]
        if name in used
    ]
    entries = {name: entry for name, entry in config["test_sets"].items() if entry}
    titles = Counter(entry["title"] or name for name, entry in entries.items())
    return lines + [
        f"test_sets: {count} test sets have the title {title!r}; give each its own title"
        for title, count in titles.items()
        if count > 1
    ]


def _score_mistakes(config: dict) -> list[str]:
    """Scores that are not in ascending order (Eqn. 1 divides by their difference)."""
    custom = config["datasets"]["weighted_custom"]
    lower, upper = custom["lower_score"], custom["upper_score"]
    if lower < upper:
        return []
    return [
        f"datasets.weighted_custom.lower_score: must be below upper_score ({upper}), got {lower}; "
        f"for a step at {upper}, write lower_score: {upper - 1}"
    ]


def _prompt_mistakes(config: dict) -> list[str]:
    """Prompts of the models that do not work as templates for a country."""
    prompts = {
        f"models.{name}.prompt": entry["prompt"]
        for name, entry in config["models"].items()
        if entry and "prompt" in entry
    }
    mistakes = {key: prompt_mistake(prompt) for key, prompt in prompts.items()}
    return [f"{key}: {mistake}" for key, mistake in mistakes.items() if mistake]


def prompt_mistake(prompt: str) -> str:
    """Say what is wrong with the prompt for a country and what to write; "" if nothing is.

    {country} must occur at least once, and no other field may.
    """
    remedy = "write {country} for the name of the country, and double all other braces: {{ }}"
    try:
        fields = [part[1:] for part in Formatter().parse(prompt) if part[1] is not None]
    except ValueError as error:
        return f"{prompt!r} is not a template ({error}); {remedy}"
    if not fields:
        return f"{prompt!r} does not contain {{country}}; {remedy}"
    if any(field != ("country", "", None) for field in fields):
        return f"{prompt!r} has a field other than {{country}}; {remedy}"
    return ""


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
    while error.context:  # the alternative that the user probably meant
        error = max(
            error.context,
            key=lambda inner: (len(inner.absolute_path), inner.validator_value != "null"),
        )
    key = ".".join(map(str, error.absolute_path)) or "top level"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = ", ".join(str(name) for name in error.instance if name not in known)
        return f"{key}: unknown key {unknown}; write one of {', '.join(known)}"
    if error.validator == "required":
        return f"{key}: {error.message}"
    limit = error.validator_value
    expected = {
        "enum": lambda: "must be one of " + ", ".join(map(_shown, limit)),
        "type": lambda: f"must be {' or '.join(TYPES[kind] for kind in _as_list(limit))}",
        "pattern": lambda: f"must match {limit}",
        "minimum": lambda: f"must be at least {limit}",
        "maximum": lambda: f"must be at most {limit}",
        "exclusiveMinimum": lambda: f"must be above {limit}",
        "exclusiveMaximum": lambda: f"must be below {limit}",
        "multipleOf": lambda: f"must be a multiple of {limit}",
        "minLength": lambda: "must not be empty",
        "minItems": lambda: f"must have {limit} entries",
        "maxItems": lambda: f"must have {limit} entries",
        "minProperties": lambda: "must not be empty",
    }.get(error.validator, lambda: error.message)()
    meaning = error.schema.get("description", "")
    return f"{key}: {expected}, got {_shown(error.instance)}" + (f" ({meaning})" if meaning else "")


def _shown(value: object) -> str:
    """A value for messages: null, true and false as YAML writes them, text in quotes."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
