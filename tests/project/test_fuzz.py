"""The fuzz, some cases of each target; `make fuzz` runs it for longer."""

from __future__ import annotations

import mmap
import time
from types import SimpleNamespace

import pytest

from tests.fuzz import runs
from tests.fuzz.cases import Result, available, generator, load, run_case

CASES = 100


@pytest.mark.parametrize("target", available())
def test_hostile_inputs_end_in_a_result_or_in_a_named_error(target):
    module = load(target)
    results = {number: run_case(module, generator(target, 0, number)) for number in range(CASES)}
    assert {number: result for number, result in results.items() if result.finding} == {}
    assert len({result.outcome for result in results.values()}) > 2  # not all fail at once


def waiting(rng, folder):
    time.sleep(60)


def busy(rng, folder):
    while True:
        pass


def starved(rng, folder):
    """A case that has to wait for the processor, as on a busy machine."""
    time.sleep(0.7)
    return "read"


def large(rng, folder):
    """Memory of the system: the allocator may have kept as much of what other tests gave back."""
    with mmap.mmap(-1, 64 << 20) as memory:
        memory.write(b"x" * len(memory))
    return "read"


def wrong(rng, folder):
    raise AssertionError("other content")


def named(rng, folder):
    from geoloc.corpus.download import RetrieveError, check_sum

    (folder / "file").touch()
    with pytest.raises(RetrieveError):
        check_sum(folder / "file", {"size": 1})
    check_sum(folder / "file", {"size": 1})


@pytest.mark.parametrize(
    ("case", "outcome", "is_finding"),
    [
        (waiting, "too slow", True),
        (busy, "too slow", True),
        (starved, "read", False),
        (large, "too much memory", True),
        (wrong, "AssertionError", True),
        (named, "RetrieveError", False),
    ],
)
def test_what_the_fuzz_calls_a_finding(case, outcome, is_finding):
    target = SimpleNamespace(case=case, SECONDS=0.5, WAIT=3, MEMORY=32 << 20)
    result = run_case(target, generator("archives", 0, 0))
    assert (result.outcome, bool(result.finding)) == (outcome, is_finding)


@pytest.mark.parametrize(
    ("alone", "outcome"),
    [
        (Result("refused"), "refused, crash after earlier files"),
        (Result("crash", "exit code -11"), "crash"),
    ],
)
def test_a_crash_is_that_of_a_case_that_crashes_by_itself(monkeypatch, alone, outcome):
    def process(target, seed, first, end):
        if end == 0:  # the case by itself
            assert first == 6
            return iter([alone])
        return iter([Result("read"), Result("crash", "exit code -11")])

    monkeypatch.setattr(runs, "_process", process)
    found = list(runs._judged("stores", 7, 5, 99.0))
    assert [result.outcome for result in found] == ["read", outcome]
