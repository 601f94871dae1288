"""The configuration, checked against its schema."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from string import Formatter

import jsonschema
import yaml

from geoloc.errors import GeolocError
from geoloc.files import write_text
from geoloc.matrix_mistakes import matrix_mistakes
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
    """Read config/config.yaml with `configfiles` on top, as Snakemake does, and check it.

    Raises:
        ConfigError: for a file that is no mapping of keys, keys given twice, and mistakes.
        OSError: for a file that can't be read.
    """
    from snakemake.utils import update_config

    files, config = [Path("config/config.yaml"), *configfiles], {}
    check_keys_once(files)
    for path in files:
        update_config(config, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    check_config(config, load_schema(SCHEMA))
    return config


def check_keys_once(paths: Sequence[str | Path]) -> None:
    """Check that configuration files give each key once: YAML would silently take the last one.

    Raises:
        ConfigError: with the file and the line of each key, also for a file that isn't YAML.
    """
    lines = []
    for path in paths:
        try:
            node = yaml.compose(Path(path).read_text(encoding="utf-8"), yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        if node is not None and not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{path} has no keys; write keys and values, as in config/demo.yaml")
        lines += [f"{path}, {line}" for line in _repeated(node, "")]
    if lines:
        raise ConfigError("the configuration has mistakes:\n  " + "\n  ".join(lines))


def _repeated(node: yaml.Node | None, place: str) -> Iterator[str]:
    if isinstance(node, yaml.SequenceNode):
        for number, inner in enumerate(node.value):
            yield from _repeated(inner, f"{place}{number}.")
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in first:
                yield (f"line {line}: {place}{name} is given twice (before in line {first[name]}); "
                       "keep one, with the keys of both")  # fmt: skip
            first.setdefault(name, line)
            yield from _repeated(value, f"{place}{name}.")


def default_config(schema: dict) -> dict:
    """Return the defaults of every key except `sources`, which has none."""
    config: dict = {}
    _set_defaults(config, schema, schema)
    _set_titles(config)
    return config


# Sections of entries with names of the user's choice; an entry set to null is skipped.
MATRIX = ("segmentations", "scores", "datasets", "models")
MOVED = {"segment": "segmentations.sam", "score": "scores.objects", "benchmarks": "test_sets"}


def check_config(config: dict, schema: dict) -> None:
    """Fill in the defaults of `schema` and check `config` against it, in place.

    Entries of the matrix that are null are removed, those that are `like` another one get its
    keys, and each model gets its title.

    Raises:
        ConfigError: with one line per mistake: the key, what is wrong, what to write.
    """
    _complete_study_entries(config, schema)
    if lines := [*_value_mistakes(config), *_complete_likes(config, schema)]:
        raise ConfigError("the configuration has mistakes:\n  " + "\n  ".join(lines))
    _set_defaults(config, schema, schema)
    errors = sorted(
        _Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.path))
    )
    lines = [_describe(error) for error in errors]
    if not errors:
        for section in MATRIX:
            for name in [name for name, entry in config[section].items() if entry is None]:
                del config[section][name]
        if abs(sum(config["index"]["split"]) - 1) > 1e-6:
            lines.append("index.split: the three shares must add up to 1")
        _set_titles(config)
        lines += _size_mistakes(config) + matrix_mistakes(config) + _prompt_mistakes(config)
    if lines:
        raise ConfigError("the configuration has mistakes:\n  " + "\n  ".join(lines))


def _complete_study_entries(config: dict, schema: dict) -> None:
    """Give entries with the name and kind of one of the study's the keys that they don't have.

    A workflow that uses this one as a module has no config/config.yaml under its configuration.
    """
    for section in MATRIX:
        default, entries = schema["properties"][section]["default"], config.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            study = default.get(name, {})
            if isinstance(entry, dict) and entry.get("kind", study.get("kind")) == study.get(
                "kind"
            ):
                entries[name] = _merged(study, entry)


def _merged(defaults: dict, values: dict) -> dict:
    """`values` over `defaults`, in the order of `values`, also in mappings within them."""
    result = dict(values)
    for key, value in values.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict):
            same_kind = value.get("kind", default.get("kind")) == default.get("kind")
            result[key] = _merged(default, value) if same_kind else value
    return result | {k: copy.deepcopy(v) for k, v in defaults.items() if k not in values}


def _complete_likes(config: dict, schema: dict) -> list[str]:
    """Give each entry that is `like` another one the keys of that entry that it does not have.

    Returns:
        Mistakes.
    """
    lines = []
    for section in MATRIX:
        entries = config.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            if not isinstance(entry, dict) or "like" not in entry:
                continue
            other = entries.get(entry["like"]) if isinstance(entry["like"], str) else None
            if not isinstance(other, dict) or "like" in other or other is entry:
                known = [n for n, e in entries.items() if isinstance(e, dict) and "like" not in e]
                lines.append(
                    f"{section}.{name}.like: must be an entry without like, got "
                    f"{_shown(entry['like'])}; write one of {', '.join(known)}"
                )
                continue
            if name in schema["properties"][section]["default"]:
                lines.append(
                    f"{section}.{name}.like: {name} is an entry of the study and has keys of its "
                    "own; give your entry another name"
                )
                continue
            own = {key: value for key, value in entry.items() if key != "like"}
            entries[name] = copy.deepcopy(other) | own
    return lines


def _set_titles(config: dict) -> None:
    for name, entry in config["models"].items():
        entry["title"] = entry["title"] or _model_title(name, entry)


def _model_title(name: str, entry: dict) -> str:
    """The title of a model that has none in the configuration."""
    if entry["kind"] == "geoclip":
        return "GeoCLIP"
    if entry["kind"] != "clip":
        return name
    if not entry["path"]:
        return "CLIP (trained here)"
    folder = Path(entry["path"]).name
    return "StreetCLIP" if folder == "streetclip" else folder


def order_entries(config: dict, first: Mapping) -> None:
    """Put the entries that `first` has, too, before the others and in its order, in place.

    Snakemake puts the keys of a file given with --configfile before those of config/config.yaml,
    but the published rows and columns of Table 1 come first.
    """
    for section in (*MATRIX, "test_sets"):
        entries = config[section]
        names = dict.fromkeys([*(n for n in first[section] if n in entries), *entries])
        ordered = {name: entries[name] for name in names}
        entries.clear()
        entries.update(ordered)


def place_paths(config: dict, root: Path, place: Callable[[str], str]) -> dict:
    """Copy a checked configuration, each path where a workflow that uses this as a module has it.

    Args:
        root: folder of the project. Its own files (class list, weights of the demo, containers) are
            taken from there if the working folder does not have them.
        place: gives the path below the module's prefix.
    """
    config = copy.deepcopy(config)

    def move(entry: dict, key: str, place: Callable[[str], str] = place) -> None:
        if entry.get(key):
            moved, own = place(entry[key]), root / entry[key]
            shipped = Path(entry[key]).parts[:1] in OWN_FOLDERS and own.exists()
            entry[key] = str(own) if shipped and not Path(moved).exists() else moved

    for source in (*config["sources"].values(), *config["test_sets"].values()):
        if source:
            move(source, "path")
            move(source, "file")
    for section in MATRIX:
        for entry in config[section].values():
            for part in (entry, entry.get("classifier", {})):
                for key in PATH_KEYS:
                    move(part, key)
    for name in config["containers"]:
        move(config["containers"], name, str)  # Snakemake adds no prefix to images
    return config


PATH_KEYS = ("weights", "path", "classes", "file", "gallery")
"""Keys of entries of the matrix that are paths."""


def files_of(entry: dict) -> list[str]:
    """Files and folders that a segmentation or model is loaded from."""
    parts = (entry, entry.get("classifier", {}))
    return [part[key] for part in parts for key in PATH_KEYS if part.get(key)]


def _size_mistakes(config: dict) -> list[str]:
    """Street sources whose images would differ in size from the masks."""
    return [
        f"sources.{name}.size: must be {SCORE_SIZE}, the size of the masks, got "
        f"{_shown(entry['size'])}; write size: {SCORE_SIZE}, and crop: center if the images are "
        "not square"
        for name, entry in config["sources"].items()
        if entry and entry["size"] != SCORE_SIZE
    ]


def _prompt_mistakes(config: dict) -> list[str]:
    """Prompts of the models that do not work as templates for a country."""
    prompts = {
        f"models.{name}.prompt": entry["prompt"]
        for name, entry in config["models"].items()
        if "prompt" in entry
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


def _kinds(validator, kinds: dict, instance: object, schema: dict) -> Iterator:
    """The keyword `kinds` of the schema: the schema of an entry by its kind; null is valid."""
    if instance is None:
        return
    if not isinstance(instance, dict):
        yield jsonschema.ValidationError("", validator="type", validator_value="object",
                                         instance=instance, schema=schema)  # fmt: skip
    elif instance.get("kind") not in kinds:
        yield jsonschema.ValidationError("", validator="enum", validator_value=list(kinds),
                                         path=["kind"], instance=instance.get("kind"),
                                         schema=schema)  # fmt: skip
    else:
        yield from validator.descend(instance, kinds[instance["kind"]])


def _is_integer(checker: object, value: object) -> bool:
    """Without 64.0, which JSON schema counts as an integer and the code does not."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"kinds": _kinds},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def _resolve(schema: dict, root: dict, value: object = None) -> dict:
    """The schema of a value: behind references, and of its kind."""
    for option in schema.get("anyOf", []):
        schema = option if "$ref" in option else schema
    if "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return _resolve(found, root, value)
    if "kinds" in schema and isinstance(value, dict):
        return _resolve(schema["kinds"].get(value.get("kind"), {}), root, value)
    return schema


def _set_defaults(config: dict, schema: dict, root: dict) -> None:
    schema = _resolve(schema, root, config)
    for key, entry in schema.get("properties", {}).items():
        if "default" in entry:
            config.setdefault(key, copy.deepcopy(entry["default"]))
    for key, value in config.items():
        entry = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        if isinstance(value, dict) and isinstance(entry, dict):
            _set_defaults(value, entry, root)


def _value_mistakes(value: object, place: str = "") -> Iterator[str]:
    """Keys that YAML does not read as text, and numbers that are not finite."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield (f"{place or 'top level'}: YAML reads a key as {_shown(key)}, which is not "
                       "text; write it in quotes")  # fmt: skip
            else:
                yield from _value_mistakes(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _value_mistakes(inner, f"{place}.{number}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place}: {value} is not a finite number; write a finite one"


def _describe(error: jsonschema.ValidationError) -> str:
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
        return f"{key}: {error.message}"
    limit = error.validator_value
    expected = {
        "enum": lambda: "must be one of " + ", ".join(map(_shown, limit)),
        "type": lambda: f"must be {' or '.join(TYPES[kind] for kind in _as_list(limit))}",
        "const": lambda: f"must be {_shown(limit)}",
        "uniqueItems": lambda: "must not name anything twice",
        "pattern": lambda: f"must match {limit}",
        "minimum": lambda: f"must be at least {limit}",
        "maximum": lambda: f"must be at most {limit}",
        "exclusiveMinimum": lambda: f"must be above {limit}",
        "exclusiveMaximum": lambda: f"must be below {limit}",
        "multipleOf": lambda: f"must be a multiple of {limit}",
        "minLength": lambda: "must not be empty",
        "minItems": lambda: f"must have at least {limit} entries",
        "maxItems": lambda: f"must have at most {limit} entries",
        "minProperties": lambda: "must not be empty",
    }.get(error.validator, lambda: error.message)()
    meaning = error.schema.get("description", "")
    told = f"{key}: {expected}, got {_shown(error.instance)}{_remedy(error)}"
    return told + (f" ({meaning})" if meaning else "")


def _remedy(error: jsonschema.ValidationError) -> str:
    """What to write instead of a value that is almost right; empty if nothing is known."""
    value, limit = error.instance, error.validator_value
    if error.validator == "type" and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    if error.validator in ("maximum", "exclusiveMaximum") and limit == 1 and 1 < value <= 100:
        return f"; write {value / 100:g} for {value:g} %"
    if error.validator == "type" and isinstance(value, str) and "number" in _as_list(limit):
        try:
            return f"; write {float(value)!r}" if math.isfinite(float(value)) else ""
        except ValueError:
            return ""
    return ""


def _shown(value: object) -> str:
    """A value for messages: null, true and false as YAML writes them, text in quotes."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return repr(value)


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
