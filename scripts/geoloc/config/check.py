"""Check a whole configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import count

from geoloc.config.entries import (
    MATRIX,
    complete_likes,
    complete_study_entries,
    set_titles,
)
from geoloc.config.errors import ConfigError, shown
from geoloc.config.matrix_mistakes import matrix_mistakes
from geoloc.config.paths import path_mistakes
from geoloc.config.prompts import prompt_mistakes
from geoloc.config.schema import Validator, describe, set_defaults
from geoloc.types import SCORE_SIZE

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Titles have a check of their own, and options are a user's own affair.
ANY_TEXT = re.compile(r"\.title$|\.options\.")


def default_config(schema: dict) -> dict:
    """Return the defaults of every key except `sources`, which has none."""
    config: dict = {}
    set_defaults(config, schema, schema)
    set_titles(config)
    return config


def check_config(config: dict, schema: dict) -> None:
    """Fill in the defaults of `schema` and check `config` against it, in place.

    Entries of the matrix that are null are removed, those that are `like` another one get its
    keys, and each model gets its title.

    Raises:
        ConfigError: with one line per mistake: the key, what is wrong, what to write.
    """
    complete_study_entries(config, schema)
    if lines := [*_value_mistakes(config), *complete_likes(config, schema)]:
        raise ConfigError("the configuration has mistakes:\n  " + "\n  ".join(lines))
    set_defaults(config, schema, schema)
    errors = sorted(
        Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.path))
    )
    lines = [describe(error) for error in errors]
    if not errors:
        for section in MATRIX:
            for name in [name for name, entry in config[section].items() if entry is None]:
                del config[section][name]
        set_titles(config)
        lines += [
            *_empty_sections(config),
            *_split_mistakes(config),
            *_size_mistakes(config),
            *matrix_mistakes(config, schema),
            *_training_mistakes(config["train"]),
            *prompt_mistakes(config),
            *path_mistakes(config),
        ]
    if lines:
        raise ConfigError("the configuration has mistakes:\n  " + "\n  ".join(lines))


def _empty_sections(config: dict) -> Iterator[str]:
    """Find sections in which every entry is null."""
    for section in ("sources", "models"):
        if not any(config[section].values()):
            yield f"{section}: every entry is null; a run needs one, so add or keep one"


def _split_mistakes(config: dict) -> Iterator[str]:
    """Find shares that are not a split, or that leave a part of the smallest country empty."""
    least, shares = config["index"]["min_images"], config["index"]["split"]
    if abs(sum(shares) - 1) > 1e-6:
        yield "index.split: the three shares must add up to 1"
        return
    # As many images as split-folders takes (geoloc.corpus.split).
    for part, share in zip(("training", "validation"), shares, strict=False):
        if int(share * least) == 0:
            needed = next(n for n in count(least) if int(share * n))
            yield (
                f"index.min_images: a country with {least} images has no {part} images when its "
                f"share is {share:g}; write at least {needed}, or raise the share in "
                "index.split"
            )


def _training_mistakes(train: dict) -> Iterator[str]:
    """Find settings of the training that don't fit together."""
    batch, gpus = train["batch_size"], train["gpus"]
    if batch % gpus:
        yield (
            f"train.batch_size: must be a multiple of train.gpus ({gpus}), got {batch}; write "
            f"{math.ceil(batch / gpus) * gpus}"
        )
    least, first = train["minimum_learning_rate"], train["learning_rate"]
    if least > first:
        yield (
            f"train.minimum_learning_rate: must be at most learning_rate ({first:g}), got "
            f"{least:g}; write a smaller one"
        )


def _size_mistakes(config: dict) -> list[str]:
    """Find street sources whose image size would differ from that of the masks."""
    return [
        f"sources.{name}.size: must be {SCORE_SIZE}, the size of the masks, got "
        f"{shown(entry['size'])}; write size: {SCORE_SIZE}, and crop: center if the images are "
        "not square"
        for name, entry in config["sources"].items()
        if entry and entry["size"] != SCORE_SIZE
    ]


def _value_mistakes(value: object, place: str = "") -> Iterator[str]:
    """Find keys that YAML does not read as text, control characters, and numbers that are not
    finite."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                yield (
                    f"{place or 'top level'}: YAML reads a key as {shown(key)}, which is not "
                    "text; write it in quotes"
                )
            elif CONTROL.search(key):
                yield f"{place or 'top level'}: the key {_without_control(key)}"
            else:
                yield from _value_mistakes(inner, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _value_mistakes(inner, f"{place}.{number}")
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{place}: {value} is not a finite number; write a finite one"
    elif isinstance(value, str) and CONTROL.search(value) and not ANY_TEXT.search(place):
        yield f"{place}: {_without_control(value)}"


def _without_control(text: str) -> str:
    return f"{shown(text)} has a line break or another control character; write it without"
