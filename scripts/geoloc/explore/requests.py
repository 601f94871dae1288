"""What a request may ask for. Everything that it names is looked up; nothing becomes a path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

ANSWERS = ("all", "right", "wrong", "explained")


class Refused(Exception):
    """A request for something that makes no sense (400) or does not exist (404)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Query:
    """Which images to show, and how.

    group: collection and split, as `street/test`; country: ISO alpha-2, "" for all; row: path of a
    model row, "" for none; dataset: how images are shown; answer: one of `ANSWERS`; object: the
    score maps and the index of a class, as `objects/12`, "" for all.
    """

    group: str
    country: str
    row: str
    dataset: str
    answer: str
    object: str


def choose(parameters: Mapping[str, str], key: str, known: Collection[str], default: str) -> str:
    """Read the value of a parameter, which must be one of the `known` ones or the default.

    Raises:
        Refused: for any other value.
    """
    value = parameters.get(key, default)
    if value != default and value not in known:
        raise Refused(400, f"{key}: {value[:60]!r} is unknown")
    return value


def whole_number(parameters: Mapping[str, str], key: str) -> int:
    """Read a parameter that counts from 0, 0 if it is not given.

    Raises:
        Refused: for anything else, and for a number that no page has.
    """
    text = parameters.get(key, "0")
    if not (text.isascii() and text.isdecimal() and len(text) < 9):
        raise Refused(400, f"{key}: {text[:60]!r} is not a page number")
    return int(text)


def refuse_others(parameters: Mapping[str, str], *known: str) -> None:
    """Raise Refused for a parameter that nobody reads."""
    if others := sorted(set(parameters) - set(known)):
        raise Refused(400, f"unknown parameter {others[0][:60]!r}; use one of {', '.join(known)}")
