"""The command `geoloc verify` and the list of its checks."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path

from geoloc.arguments import positive
from geoloc.config import read_written_config
from geoloc.verify import explanations, index, models, predictions, report, results, shards, strays
from geoloc.verify.run import Check, Finding, NotChecked, Run, failure

CONFIG = "config.yaml"
EXAMPLES = """\
examples:
  check a finished run, a sample of each shard:
    geoloc verify results/study
  read all content and recompute all score maps and arrays:
    geoloc verify results/study --digests --jobs 16
  where no model can be loaded:
    geoloc verify results/study --skip "keras models" "full-size models"
  a run whose folder has no config.yaml:
    geoloc verify results/demo --configfile config/demo.yaml

Prints a line for each check and one for each thing that is wrong. The exit status is 0 where
nothing is wrong, 1 where something is, and 2 where there is no such run.
"""


def check_kinds_of_files(run: Run) -> Check:
    """Check that the run has only files and folders. Opening anything else could block forever."""
    count = 0
    for path in sorted(run.folder.rglob("*")):
        count += 1
        if path.is_symlink() and not path.exists():
            yield Finding(run.relative(path), "is a link to nothing; remove it")
        elif not path.is_dir() and not path.is_file():
            yield Finding(run.relative(path), "is neither a file nor a folder; remove it")
    return f"{count:,} files and folders"


def check_configuration(run: Run, given: Sequence[Path] = ()) -> Check:
    """Check that the run's settings can be read, and keep them."""
    if given:
        from geoloc.config import read_config

        run.configuration = read_config(given)
        return ", ".join(map(str, given))
    path = run.folder / CONFIG
    if not path.exists():
        yield Finding(CONFIG, "is missing; give the configuration of the run with --configfile")
        return "unknown"
    try:
        run.configuration = config = read_written_config(path, run.schema)
    except Exception as error:
        yield Finding(CONFIG, f"cannot be read ({error}); give the configuration with --configfile")
        return "unknown"
    if config["run"] != run.folder.name:
        yield Finding(
            CONFIG,
            f"is of the run {config['run']}; give this run's configuration with --configfile",
        )
    return str(path)


CHECKS: dict[str, Callable[[Run], Check]] = {
    "kinds of files": check_kinds_of_files,
    "configuration": check_configuration,
    "index": index.check_images_table,
    "shards": index.check_shard_table,
    "manifests": index.check_manifests,
    "countries": index.check_countries,
    "rejected": index.check_rejected,
    "listing": index.check_listing,
    "quarantine": shards.check_quarantine,
    "images": shards.check_images,
    "segments": shards.check_segments,
    "scores": shards.check_scores,
    "arrays": shards.check_arrays,
    "lists of shards": strays.check_lists,
    "other files": strays.check_strays,
    "leakage": results.check_leakage,
    "predictions": predictions.check_predictions,
    "models": models.check_records,
    "keras models": models.check_keras_models,
    "full-size models": models.check_full_size_models,
    "table 1": results.check_table1,
    "metrics": results.check_metrics,
    "answers": results.check_answers,
    "explanations": explanations.check_explanations,
    "by country": report.check_countries,
    "comparison": results.check_comparison,
    "figures": results.check_figures,
    "report": report.check_report,
    "leftovers": strays.check_leftovers,
}


# The file that a check was reading if it stops halfway.
FILES = {
    "shards": index.SHARDS,
    "countries": index.COUNTRIES,
    "rejected": index.REJECTED,
    "listing": index.LISTING,
    "quarantine": shards.QUARANTINE,
    "leakage": results.LEAKAGE,
}


@dataclass
class Outcome:
    """The result of one check. `summary` says what it checked; `skipped` why it did not run."""

    name: str
    findings: list[Finding]
    summary: str = ""
    skipped: str = ""
    seconds: float = 0.0


def perform(name: str, check: Callable[[Run], Check], run: Run) -> Outcome:
    """Run one check to the end, whatever happens."""
    outcome, start = Outcome(name, []), time.perf_counter()
    generator = check(run)
    try:
        while True:
            outcome.findings.append(next(generator))
    except StopIteration as end:
        outcome.summary = end.value
    except NotChecked as reason:
        outcome.skipped = str(reason)
    except Exception as error:  # damaged files can raise anything
        name = FILES.get(outcome.name, outcome.name)
        outcome.findings.append(failure(name, error))
    outcome.seconds = time.perf_counter() - start
    return outcome


def verify(
    run: Run, configfiles: Sequence[Path] = (), skip: Container[str] = ()
) -> Iterator[Outcome]:
    """Check a run; yield the outcome of each check, in order."""
    special: list[Finding] = []
    for name, check in CHECKS.items():
        if name in skip:
            yield Outcome(name, [], skipped="skipped with --skip")
        elif special:
            yield Outcome(name, [], skipped=f"{special[0].path} must be removed first")
        elif check is check_kinds_of_files:
            outcome = perform(name, check, run)
            special = outcome.findings
            yield outcome
        elif check is check_configuration:
            yield perform(name, lambda run: check_configuration(run, configfiles), run)
        else:
            yield perform(name, check, run)


def report(outcome: Outcome, folder: Path) -> None:
    """Print an outcome, problems first."""
    for finding in outcome.findings:
        kind = "note " if finding.warning else "WRONG"
        print(f"{kind} {folder / finding.path}: {finding.problem}")
    wrong = any(not finding.warning for finding in outcome.findings)
    if outcome.skipped:
        print(f"skip  {outcome.name}: not checked, {outcome.skipped}", flush=True)
    elif not wrong:
        print(f"ok    {outcome.name}: {outcome.summary}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit status, see EXAMPLES."""
    options = parse_arguments(arguments)
    sys.stdout.reconfigure(errors="backslashreplace")
    folder = options.run
    if not (folder / "index").is_dir():
        print(f"error: {folder} is not a run: it has no folder index", file=sys.stderr)
        return 2
    run = Run(folder, options.digests, options.jobs)
    start, outcomes = time.perf_counter(), []
    for outcome in verify(run, options.configfile, options.skip):
        report(outcome, folder)
        outcomes.append(outcome)
    run.close()
    wrong = sum(not f.warning for outcome in outcomes for f in outcome.findings)
    skipped = sum(bool(outcome.skipped) for outcome in outcomes)
    seconds = time.perf_counter() - start
    print(f"{wrong} wrong, {skipped} of {len(outcomes)} checks not made, {seconds:.0f} s")
    return 1 if wrong else 0


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="geoloc verify",
        description="Check that a finished run is whole.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN", type=Path, help="folder of a finished run, results/NAME")
    digests = "read all content: compare digests, recompute all score maps and arrays"
    add("--digests", action="store_true", help=digests)
    add(
        "--jobs", metavar="N", type=positive, default=cpu_count() or 1, help="processes (all cores)"
    )
    config = "the run's configuration, as of snakemake (RUN/config.yaml)"
    add("--configfile", metavar="YAML", type=Path, nargs="+", default=[], help=config)
    names = f"checks to skip: {', '.join(CHECKS)}"
    add("--skip", metavar="CHECK", nargs="+", choices=list(CHECKS), default=[], help=names)
    return parser.parse_args(arguments)
