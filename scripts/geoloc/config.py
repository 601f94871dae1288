"""The configuration: checked against its schema, with messages that say what to write."""

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


class ConfigError(GeolocError, ValueError):
    """The configuration cannot be used; the message says which key and what to write."""


def load_schema(path: str | Path) -> dict:
    """Read a JSON schema that is written in YAML."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def write_config(path: str | Path, config: dict) -> None:
    """Write a checked configuration as YAML with every key, for `read_written_config`."""
    plain = json.loads(json.dumps(config, default=str))
    write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, explicit_end=True))


def read_written_config(path: str | Path, schema: dict) -> dict:
    """Read what `write_config` wrote.

    Raises ConfigError where the file is cut, is not YAML, or has mistakes.
    """
    text = Path(path).read_bytes().decode("utf-8", "replace")
    if not text.endswith("\n...\n"):
        raise ConfigError("its end is missing")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"it is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict):
        raise ConfigError("it has no keys")
    check_config(config, schema)
    return config


def read_config(configfiles: Sequence[Path]) -> dict:
    """config/config.yaml with `configfiles` over it, checked, as Snakemake reads it."""
    from snakemake.utils import update_config

    config = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
    for path in configfiles:
        update_config(config, yaml.safe_load(path.read_text(encoding="utf-8")))
    check_config(config, load_schema(SCHEMA))
    return config


def default_config(schema: dict) -> dict:
    """The configuration that an empty one stands for, without sources: they have no default."""
    config: dict = {}
    _set_defaults(config, schema, schema)
    return config


def check_config(config: dict, schema: dict) -> None:
    """Fill in the defaults of `schema` and check `config` against it, in place. A CLIP without a
    title gets one that says where it comes from.

    Raises ConfigError with a line for every mistake: the key, what is wrong, what it means.
    """
    models = config.get("models")
    if isinstance(models, dict) and models.get("contrastive") is True:
        # In a configuration laid over another, Snakemake takes {} for nothing.
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
    """Street sources whose images would not have the size of the masks."""
    return [
        f"sources.{name}.size: {entry['size'] or 'null'} does not fit the masks, which are "
        f"{SCORE_SIZE} pixels wide and high; write size: {SCORE_SIZE}, and crop: center for "
        "images that are not square"
        for name, entry in config["sources"].items()
        if entry and entry["size"] != SCORE_SIZE
    ]


def _name_clashes(config: dict) -> list[str]:
    """Names and titles of test sets that stand for something else already."""
    used = {"street", "original", "weighted_base", "weighted_custom", *config["sources"]}
    lines = [
        f"test_sets.{name}: this name is in use; give the test set another"
        for name in config["test_sets"]
        if name in used
    ]
    entries = {name: entry for name, entry in config["test_sets"].items() if entry}
    titles = Counter(entry["title"] or name for name, entry in entries.items())
    return lines + [
        f"test_sets: {count} have the title {title!r}; give each its own"
        for title, count in titles.items()
        if count > 1
    ]


def _score_mistakes(config: dict) -> list[str]:
    """Scores between which no line can rise (Eqn. 1 divides by their difference)."""
    custom = config["datasets"]["weighted_custom"]
    lower, upper = custom["lower_score"], custom["upper_score"]
    if lower < upper:
        return []
    return [
        f"datasets.weighted_custom: lower_score {lower} is not below upper_score {upper}; for a "
        f"step at {upper} write lower_score: {upper - 1}"
    ]


def _prompt_mistakes(config: dict) -> list[str]:
    """Prompts of the models that make no text of a country."""
    prompts = {
        f"models.{name}.prompt": entry["prompt"]
        for name, entry in config["models"].items()
        if entry and "prompt" in entry
    }
    mistakes = {key: prompt_mistake(prompt) for key, prompt in prompts.items()}
    return [f"{key}: {mistake}" for key, mistake in mistakes.items() if mistake]


def prompt_mistake(prompt: str) -> str:
    """What is wrong with the text of a country and what to write; "" where nothing is. Its only
    field is {country}, any number of times from once on."""
    remedy = "write {country} for its name, and other braces twice: {{ }}"
    try:
        fields = [part[1:] for part in Formatter().parse(prompt) if part[1] is not None]
    except ValueError as error:
        return f"{prompt!r} will not do ({error}); {remedy}"
    if not fields:
        return f"{prompt!r} has no {{country}} in it; {remedy}"
    if any(field != ("country", "", None) for field in fields):
        return f"{prompt!r} has another field than {{country}}; {remedy}"
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
