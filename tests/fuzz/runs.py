"""Runs hostile inputs for some minutes and tells what became of them; exits 1 on findings.

Every target has a process of its own, so that a crash is a finding, too, and the run goes on.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.cases import TARGETS, WAIT, Result, available, generator, load, reproduce
from tests.fuzz.cases import run_case as run

START = 120  # seconds in which a process has imported its target
SPARE = 20  # seconds after the alarm for a call that does not return to Python


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    logging.disable(logging.ERROR)
    if options.only is not None:
        return _again(options)
    targets = [name for name in options.target if name in available()]
    report = {"seed": options.seed, "minutes": options.minutes, "targets": {}, "findings": []}
    for name in targets:
        seconds = options.minutes * 60 / len(targets)
        report["targets"][name] = _fuzz(name, options.seed, seconds, report["findings"])
        print(f"{name}: {json.dumps(report['targets'][name])}", flush=True)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"{len(report['findings'])} findings, targets {', '.join(targets) or 'none'}")
    return 1 if report["findings"] else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--only", type=int, metavar="NUMBER", help="run this case of one target")
    parser.add_argument("--output", type=Path, help="write counts and findings here, as JSON")
    options = parser.parse_args(arguments)
    if options.only is not None and len(options.target) != 1:
        parser.error("--only needs one --target")
    return options


def _again(options: argparse.Namespace) -> int:
    target = options.target[0]
    result = run(load(target), generator(target, options.seed, options.only))
    print(f"{target} {options.only}: {result.outcome}\n{result.finding}".rstrip())
    return 1 if result.finding else 0


def _fuzz(target: str, seed: int, seconds: float, findings: list[dict]) -> dict:
    """Run cases of a target for some time. Returns the counts and appends the findings."""
    counts: Counter[str] = Counter()
    number, end, start = 0, time.monotonic() + seconds, time.monotonic()
    while time.monotonic() < end:
        for result in _judged(target, seed, number, end):
            counts[f"FINDING {result.outcome}" if result.finding else result.outcome] += 1
            if result.finding:
                found = {"target": target, "seed": seed, "number": number}
                findings.append(found | {"outcome": result.outcome, "finding": result.finding})
                command = reproduce(target, seed, number)
                print(f"FINDING {target} {number}: {result.outcome}\n{result.finding}\n{command}\n")
            number += 1
    took = round(time.monotonic() - start)
    return {"cases": number, "seconds": took, "outcomes": dict(counts.most_common())}


def _judged(target: str, seed: int, first: int, end: float) -> Iterator[Result]:
    """Results of the cases from `first` on. A crash is that of a case if it crashes by itself, too.

    HDF5 can damage its own memory when it refuses a file, and crash some files later. No job reads
    on after a file that was refused, and `geoloc verify` tells which file its process died of.
    """
    for number, result in enumerate(_process(target, seed, first, end), start=first):
        if result.outcome == "crash":
            (alone,) = _process(target, seed, number, end=0.0)
            if not alone.finding:
                result = Result(f"{alone.outcome}, crash after earlier files")
        yield result


def _process(target: str, seed: int, first: int, end: float) -> Iterator[Result]:
    """Results of the cases from `first` on, at least one, from a process that ends at `end` or with
    a crash."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(target, seed, first, end, theirs))
    process.start()
    theirs.close()
    try:
        patience = START + WAIT + SPARE
        while True:
            if not ours.poll(patience):
                yield Result("stuck", f"no result in {patience} s, and no exception either")
                return
            try:
                result = ours.recv()
            except EOFError:
                process.join(SPARE)
                if process.exitcode == 1:  # the target cannot be imported: shown by the process
                    raise SystemExit(f"target {target} cannot start") from None
                yield Result("crash", f"the process ended with the exit code {process.exitcode}")
                return
            if result is None:
                return
            yield result
            patience = WAIT + SPARE
    finally:
        process.kill()
        process.join()


def _work(target: str, seed: int, first: int, end: float, results: Connection) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    os.nice(10)
    case, number = load(target), first
    while number == first or time.monotonic() < end:
        results.send(run(case, generator(target, seed, number)))
        number += 1
    results.send(None)
