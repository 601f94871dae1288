"""Mutation testing of the science and of safety: `make mutate`.

    python -m tests.mutation                            # all modules, all mutants, the own changes
    python -m tests.mutation --modules weighting scoring --sample 40 --jobs 1
    python -m tests.mutation --changes-only             # tests/mutation/changes.yaml

The report goes to results/mutation/. Exit status 1 where less than the goal was noticed, or where
an entry of changes.yaml or equivalent.txt does not fit the code any more.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.mutation import server
from tests.mutation.operators import Mutant, mutants, one_line, rule_mutants
from tests.mutation.related import PASSING_ON, SAFETY, SCIENCE, tests_of

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
GOAL = 0.95
BASELINE_LIMIT = 600.0  # seconds that the tests of one file may take unchanged


@dataclass(frozen=True)
class Case:
    """A changed file to be tried."""

    path: str
    key: str
    line: int
    text: str


@dataclass(frozen=True)
class Result:
    case: Case
    outcome: server.Outcome


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    equivalent = read_equivalents(FOLDER / "equivalent.txt")
    changes, stale = own_changes()
    paths = [] if options.changes_only else [path_of(name) for name in options.modules]
    cases, skipped = sampled(paths, equivalent, options.sample, options.seed, options.match)
    if options.changes_only or not options.modules_given:
        cases += [case for case in changes if options.match in case.key]
    print(f"{len(cases)} changes of {len({c.path for c in cases})} files", flush=True)
    server.import_large_packages()
    with tempfile.TemporaryDirectory(prefix="mutation") as folder:
        workers = [server.Worker(Path(folder, f"{n}/project")) for n in range(options.jobs)]
        tests = {test for case in cases for test in tests_of(case.path)}
        tests -= {f"tests/{name}.py" for name in options.without}
        finished = Path(folder, "finished")
        if "tests/verify/test_verify.py" in tests and not server.keep_finished_run(finished):
            print("no finished run could be made:", (finished / "output.txt").read_text()[-2000:])
        quick = measure(tests, workers, options.limit)
        results = try_all(cases, quick, workers)
    report = Report(results, skipped, stale + skipped.pop("gone", []))
    report.write(ROOT / "results/mutation")
    print(report.text())
    return 0 if report.score >= GOAL and not stale else 1


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--modules", nargs="*", default=[], help="as weighting or models/cnn")
    parser.add_argument("--sample", type=int, help="at most so many mutants of a module")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1, help="mutants that are tried at once")
    parser.add_argument("--match", default="", help="only changes whose key holds this text")
    parser.add_argument("--without", nargs="*", default=[], help="test files to leave out: test_x")
    parser.add_argument("--changes-only", action="store_true", help="only changes.yaml")
    parser.add_argument(
        "--limit", type=float, default=8.0, help="leave out tests that take more seconds"
    )
    options = parser.parse_args(arguments)
    options.modules_given = bool(options.modules)
    options.modules = options.modules or [*SCIENCE, *PASSING_ON, *SAFETY]
    return options


def file_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def path_of(module: str) -> str:
    return module if "." in module else f"scripts/geoloc/{module}.py"


def read_equivalents(path: Path) -> dict[str, str]:
    """Reason by key of the mutants that change nothing that matters."""
    lines = path.read_text(encoding="utf-8").splitlines()
    entries = [line.rsplit(" | ", 1) for line in lines if line and not line.startswith("#")]
    return {key.strip(): reason.strip() for key, reason in entries}


def sampled(
    paths: list[str], equivalent: dict[str, str], sample: int | None, seed: int, match: str
) -> tuple[list[Case], dict[str, list[str]]]:
    """The mutants to try, in the order of the source, and by file the keys of the equivalents."""
    cases, skipped = [], {}
    for path in paths:
        source = (ROOT / path).read_text(encoding="utf-8")
        changes = mutants if path.endswith(".py") else rule_mutants
        found = [m for m in changes(source, path) if match in m.key]
        skipped[path] = [m.key for m in found if m.key in equivalent]
        known = {key for key in equivalent if key.startswith(f"{path} | ") and match in key}
        skipped.setdefault("gone", []).extend(sorted(known - {m.key for m in found}))
        found = [m for m in found if m.key not in equivalent]
        if sample is not None and len(found) > sample:
            chosen = random.Random(f"{seed} {path}").sample(found, sample)
            found = sorted(chosen, key=lambda m: m.start)
        cases += [case_of(mutant, source) for mutant in found]
    return cases, skipped


def case_of(mutant: Mutant, source: str) -> Case:
    return Case(mutant.path, mutant.key, mutant.line, mutant.apply(source))


def own_changes() -> tuple[list[Case], list[str]]:
    """The changes of changes.yaml, and those that do not fit their file any more."""
    cases, stale = [], []
    for entry in yaml.safe_load((FOLDER / "changes.yaml").read_text(encoding="utf-8")):
        path, old, new = entry["file"], entry["old"], entry["new"]
        source = (ROOT / path).read_text(encoding="utf-8") if (ROOT / path).exists() else ""
        key = f"{path} | {one_line(old)} → {one_line(new) or '(nothing)'}"
        if source.count(old) != 1:
            stale.append(key)
            continue
        line = source[: source.index(old)].count("\n") + 1
        cases.append(Case(path, key, line, source.replace(old, new)))
    return cases, stale


@dataclass(frozen=True)
class Quick:
    """The quick tests of a file: what it takes to run them, and those that are left out."""

    seconds: float
    left_out: list[str]


def measure(tests: set[str], workers: list[server.Worker], limit: float) -> dict[str, Quick]:
    """Run each test file unchanged and find the tests that take no longer than the limit.

    What was measured is kept in results/mutation/seconds.json for test files of the same text.
    """
    file = ROOT / "results/mutation/seconds.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    texts = {test: file_hash(ROOT / test) for test in sorted(tests)}
    new = [test for test in texts if known.get(test, {}).get("text") != texts[test]]

    file.parent.mkdir(parents=True, exist_ok=True)

    def told(number: int, outcome: server.Outcome) -> None:
        test, measured = new[number], outcome.folder / "seconds.json"
        if not measured.exists():
            print(f"{test} fails unchanged ({outcome.by}) and is left out", flush=True)
            return
        seconds = json.loads(measured.read_text(encoding="utf-8"))
        known[test] = {"text": texts[test], "seconds": seconds}
        file.write_text(json.dumps(known, indent=1), encoding="utf-8")
        print(f"{test}: {outcome.seconds:.0f} s, {len(seconds)} tests", flush=True)
        if failed := [name for name, value in seconds.items() if value is None]:
            print(f"fail unchanged and are left out: {', '.join(failed)}", flush=True)

    whole = "--maxfail=1000"  # a failure ends no run here
    tasks = [("pyproject.toml", None, [test, whole], BASELINE_LIMIT) for test in new]
    server.run_all(tasks, workers, told)
    found = {}
    for test in texts:
        if known.get(test, {}).get("text") == texts[test]:
            seconds = known[test]["seconds"]
            slow = [name for name, value in seconds.items() if value is None or value > limit]
            found[test] = Quick(sum(seconds[n] for n in seconds.keys() - set(slow)), slow)
    return found


def room(path: str) -> str:
    """Return the folder of a stage, or a file's name: code and its tests have the same."""
    return Path(path).parts[2 if path.startswith("scripts/geoloc/") else 1].removeprefix("test_")


def try_all(
    cases: list[Case], quick: dict[str, Quick], workers: list[server.Worker]
) -> list[Result]:
    """Run the related tests on each case: those of its room first, then the quickest file."""
    tasks = []
    for case in cases:
        tests = [t for t in tests_of(case.path) if t in quick]
        tests.sort(key=lambda test: (room(test) != room(case.path), quick[test].seconds))
        arguments = [*tests, *(f"--deselect={name}" for t in tests for name in quick[t].left_out)]
        seconds = sum(quick[t].seconds for t in tests)
        tasks.append((case.path, case.text, arguments, 20 + 4 * seconds))
    results: dict[int, Result] = {}
    began = time.monotonic()

    def told(number: int, outcome: server.Outcome) -> None:
        case = cases[number]
        results[number] = Result(case, outcome)
        done, noticed = len(results), sum(r.outcome.noticed for r in results.values())
        if not outcome.noticed:
            print(f"  not noticed: line {case.line}, {case.key}", flush=True)
        if done % 20 == 0 or done == len(cases):
            left = (time.monotonic() - began) / done * (len(cases) - done)
            print(f"{done}/{len(cases)}, {noticed} noticed, {left / 60:.1f} min left", flush=True)

    server.run_all(tasks, workers, told)
    return [results[number] for number in range(len(cases))]


class Report:
    """What was noticed, by file."""

    def __init__(
        self, results: list[Result], skipped: dict[str, list[str]], stale: list[str]
    ) -> None:
        self.results, self.skipped, self.stale = results, skipped, stale

    @property
    def score(self) -> float:
        noticed = sum(result.outcome.noticed for result in self.results)
        return noticed / len(self.results) if self.results else 1.0

    def rows(self) -> list[tuple[str, int, int, int]]:
        """File, changes tried, noticed, equivalents left out."""
        rows = []
        for path in dict.fromkeys(result.case.path for result in self.results):
            own = [result for result in self.results if result.case.path == path]
            noticed = sum(result.outcome.noticed for result in own)
            rows.append((path, len(own), noticed, len(self.skipped.get(path, []))))
        return rows

    def text(self) -> str:
        lines = ["| file | changes | noticed | equivalent |", "|---|---|---|---|"]
        lines += [f"| {path} | {n} | {k} | {e} |" for path, n, k, e in self.rows()]
        total = len(self.results)
        lines.append(f"\n{self.score:.1%} of {total} changes were noticed.")
        survivors = [r.case for r in self.results if not r.outcome.noticed]
        lines += [f"- not noticed: line {case.line}, {case.key}" for case in survivors]
        lines += [f"- does not fit the code any more: {key}" for key in self.stale]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(self.text() + "\n", encoding="utf-8")
        rows = [
            {
                "key": r.case.key,
                "line": r.case.line,
                "noticed": r.outcome.noticed,
                "by": r.outcome.by,
                "seconds": r.outcome.seconds,
            }
            for r in self.results
        ]
        (folder / "report.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
