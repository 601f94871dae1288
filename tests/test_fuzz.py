"""The fuzz tells findings from outcomes; `make fuzz` runs it."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from tests.fuzz.cases import generator, run_case


def slow(rng, folder):
    time.sleep(5)


def large(rng, folder):
    return "read" if len(bytearray(b"x" * (64 << 20))) else ""


def wrong(rng, folder):
    raise AssertionError("other content")


def named(rng, folder):
    from geoloc.retrieve import RetrieveError, check_sum

    (folder / "file").touch()
    with pytest.raises(RetrieveError):
        check_sum(folder / "file", {"size": 1})
    check_sum(folder / "file", {"size": 1})


@pytest.mark.parametrize(
    ("case", "outcome", "is_finding"),
    [
        (slow, "too slow", True),
        (large, "too much memory", True),
        (wrong, "AssertionError", True),
        (named, "RetrieveError", False),
    ],
)
def test_what_the_fuzz_calls_a_finding(case, outcome, is_finding):
    target = SimpleNamespace(case=case, SECONDS=0.2, MEMORY=32 << 20)
    result = run_case(target, generator("archives", 0, 0))
    assert (result.outcome, bool(result.finding)) == (outcome, is_finding)
