"""Configuration files: read as Snakemake does, written atomically."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from geoloc.config.check import check_config
from geoloc.config.errors import ConfigError
from geoloc.config.schema import SCHEMA, load_schema
from geoloc.files import write_text

NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
# Of YAML 1.1: 0 and octal digits, or numbers to base 60.
OTHER_BASE = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


def write_config(path: str | Path, config: dict) -> None:
    """Write a checked configuration as YAML with every key, for `read_written_config`."""
    plain = json.loads(json.dumps(config, default=str))
    write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, explicit_end=True))


def damaged_config(path: str | Path, error: Exception) -> ConfigError:
    """Return the error for what `read_written_config` raised, with the file and the remedy."""
    report = Path(path).with_name("report.html")
    return ConfigError(
        f"{path}: {error}; restore it, or delete {report} and run snakemake again, which writes "
        "both"
    )


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
        ConfigError: if a file is not a mapping of keys, repeats a key, or has mistakes.
        OSError: if a file can't be read.
    """
    from snakemake.utils import update_config

    files, config = [Path("config/config.yaml"), *configfiles], {}
    check_keys_once(files)
    for path in files:
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except yaml.YAMLError as error:  # a tag or key that no configuration has
            raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        update_config(config, values)
    check_config(config, load_schema(SCHEMA))
    return config


def check_keys_once(paths: Sequence[str | Path]) -> None:
    """Check configuration files for what YAML would silently read as something else.

    Of a key that is given twice it takes the last value, and numbers like 042 or 1:30 are octal and
    sexagesimal.

    Raises:
        ConfigError: names the file and the line of each such key or number, or a file that isn't
            YAML.
    """
    lines = []
    for path in paths:
        try:
            node = yaml.compose(Path(path).read_text(encoding="utf-8"), yaml.SafeLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
        if node is not None and not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"{path} has no keys; write keys and values, as in config/demo.yaml")
        try:
            lines += [f"{path}, {line}" for line in (*_repeated(node, ""), *_other_bases(node))]
        except RecursionError:
            raise ConfigError(
                f"{path}: an alias (*) stands inside its own anchor (&); write the keys out"
            ) from None
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
                yield (
                    f"line {line}: {place}{name} is given twice (before in line {first[name]}); "
                    "keep one, with the keys of both"
                )
            first.setdefault(name, line)
            yield from _repeated(value, f"{place}{name}.")


def _other_bases(node: yaml.Node | None) -> Iterator[str]:
    """Find numbers that YAML 1.1 reads as octal or sexagesimal."""
    if isinstance(node, yaml.CollectionNode):
        inner = node.value if isinstance(node, yaml.SequenceNode) else sum(node.value, ())
        for part in inner:
            yield from _other_bases(part)
    elif node and node.tag in NUMBERS and OTHER_BASE.fullmatch(node.value):
        yield (
            f"line {node.start_mark.line + 1}: YAML reads {node.value} as "
            f"{yaml.safe_load(node.value)}; write the number without leading zeros and colons, "
            "or in quotes if it is text"
        )
