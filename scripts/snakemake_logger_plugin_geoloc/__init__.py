"""A compact console for Snakemake: `snakemake --logger geoloc`.

It prints when a stage starts and ends, its speed and time left while it runs, warnings and errors.
Snakemake's other messages are in `.snakemake/log/`, those of jobs in their log files. Lines are
only added, never redrawn, so the output can be a file. A dry run looks as usual. With the option
`--logger-geoloc-plan FILE`, it writes the planned jobs into a file instead, for programs.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import textwrap
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from geoloc.progress import duration
from snakemake_logger_plugin_geoloc.speed import Speed, read_speed

# Starts of Snakemake's messages that only go to its log file. If another version of Snakemake words
# a message differently, it is shown.
NOT_SHOWN = (
    "Assuming unrestricted shared filesystem", "Building DAG of jobs", "Conda environments: ",
    "Config file ", "DAG of jobs will be updated", "Execute ", "Select jobs to execute",
    "Singularity containers: ", "Updating checkpoint dependencies", "Using profile",
    "Using shell: ", "Using workflow specific profile",
)  # fmt: skip
EVENTS_NOT_SHOWN = {
    LogEvent.DEBUG_DAG, LogEvent.GROUP_INFO, LogEvent.JOB_STARTED, LogEvent.RESOURCES_INFO,
    LogEvent.RULEGRAPH, LogEvent.WORKFLOW_STARTED,
}  # fmt: skip
LOG_LINES = 15  # lines shown of a failed job's log


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    interval: int = field(
        default=30,
        metadata={"help": "Seconds between two lines on the speed of a stage.", "type": int},
    )
    plan: Path | None = field(
        default=None,
        metadata={"help": "File for the jobs of a dry run, one JSON object a line.", "type": Path},
    )


@dataclass
class Job:
    """A job that was started or submitted."""

    rule: str
    log: list[str]
    started: float = field(default_factory=time.time)


@dataclass
class Stage:
    """The jobs of a rule; `total` is None until the plan knows it."""

    total: int | None = None
    done: int = 0
    started: float = field(default_factory=time.time)
    job_seconds: float = 0.0  # of all finished jobs


class LogHandler(LogHandlerBase):
    """Writes the compact view to stderr.

    Snakemake calls `emit` from one thread; the lines on speed come from another.
    """

    writes_to_stream = True
    writes_to_file = False
    has_filter = False
    has_formatter = False
    needs_rulegraph = False

    def __post_init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.stages: dict[str, Stage] = {}
        self.planned: dict[str, int] = {}
        self.done = self.total = 0
        self.started = time.time()
        self.stopped = threading.Event()
        self.interval = self.settings.interval if self.settings else 30
        self.plan = self.settings.plan if self.settings else None
        if self.common_settings.dryrun and self.plan:
            self.plan.write_text("", encoding="utf-8")
        if not self.common_settings.dryrun:
            threading.Thread(target=self._report_speed, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self.common_settings.dryrun and self.plan:
                self._write_plan(record)
            elif self.common_settings.dryrun:
                self._write_as_usual(record)
            else:
                self._emit(record)
        except Exception:  # as in every handler: no message may stop the workflow
            self.handleError(record)

    def close(self) -> None:
        self.stopped.set()
        super().close()

    def _write_plan(self, record: logging.LogRecord) -> None:
        if getattr(record, "event", None) == LogEvent.JOB_INFO:
            job = {
                "rule": record.rule_name,
                "wildcards": record.wildcards,
                "output": list(record.output),
                "benchmark": record.benchmark,
                "gpu": record.resources.get("gpu", 0),
            }
            with self.plan.open("a", encoding="utf-8") as file:
                file.write(json.dumps(job) + "\n")
        elif record.levelno >= logging.WARNING:
            self._print(self.format(record))

    def _write_as_usual(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if text and text != "None":
            job = getattr(record, "event", None) == LogEvent.JOB_INFO
            print("\n" * job + text, file=sys.stdout, flush=True)

    def _emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        own = {
            LogEvent.RUN_INFO: self._plan,
            LogEvent.JOB_INFO: self._start,
            LogEvent.JOB_FINISHED: self._finish,
            LogEvent.JOB_ERROR: self._fail,
            LogEvent.PROGRESS: self._count,
        }
        if event in own:
            own[event](record)
        elif not _hidden(record, event):
            text = self.format(record)
            if text and text != "None":
                self._print(text)

    def _plan(self, record: logging.LogRecord) -> None:
        self.planned = {rule: n for rule, n in record.stats.items() if rule != "total"}
        self.total = sum(self.planned.values())
        counts = ", ".join(f"{rule} {n}" for rule, n in self.planned.items())
        text = f"{self.total} jobs: {counts}"
        if "index" in self.planned:
            text += "; more follow from the index"
        self._print(textwrap.fill(text, 100, subsequent_indent="    "))

    def _start(self, record: logging.LogRecord) -> None:
        rule = record.rule_name
        self.jobs[record.jobid] = Job(rule, list(record.log))
        if rule not in self.stages:
            self.stages[rule] = Stage(self.planned.get(rule))
            if rule != "all":
                self._line(f"{rule}: {record.rule_msg or 'started'}")

    def _finish(self, record: logging.LogRecord) -> None:
        job = self.jobs.pop(record.job_id, None)
        if job is None:
            return
        stage = self.stages[job.rule]
        stage.done += 1
        self.done += 1  # the event with the numbers follows this one
        stage.job_seconds += time.time() - job.started
        if stage.total is not None and stage.done > stage.total:
            stage.total = None  # the plan grew
        if stage.done == stage.total and job.rule != "all":
            seconds = duration(time.time() - stage.started)
            self._line(f"{job.rule}: {_jobs(stage.done)} done in {seconds}")

    def _fail(self, record: logging.LogRecord) -> None:
        self.jobs.pop(record.jobid, None)
        outputs = ", ".join(record.output[:1])
        self._line(f"ERROR: {record.rule_name} failed: {outputs}")
        # A message of Slurm or another executor, with the location of its log.
        lines = [record.rule_msg] if record.rule_msg else []
        lines += [f"{name}: {value}" for name, value in record.aux.items()]
        for path in record.log:
            lines.append(f"log: {path}")
            if self.common_settings.show_failed_logs:
                lines += [f"    {line}" for line in _last_lines(path)]
        self._print(textwrap.indent("\n".join(lines), "    "))

    def _count(self, record: logging.LogRecord) -> None:
        self.done, self.total = record.done, record.total

    def _report_speed(self) -> None:
        """Print lines on stages every `interval` seconds, or every hundredth of a longer run."""
        while not self.stopped.wait(max(self.interval, (time.time() - self.started) / 100)):
            with self.lock:
                running = Counter(job.rule for job in self.jobs.values())
            for rule in running:
                try:
                    self._report_stage(rule)
                except Exception as error:  # an unreadable log only costs its line
                    self._print(f"WARNING: no speed of {rule}: {error}")

    def _report_stage(self, rule: str) -> None:
        with self.lock:
            jobs = [job for job in self.jobs.values() if job.rule == rule]
            stage = self.stages[rule]
        # For a stage of short jobs, start and end are enough.
        if not jobs or time.time() - min(job.started for job in jobs) < self.interval:
            return
        speed = sum((read_speed(job.log, job.started) for job in jobs), Speed())
        of = f" of {stage.total}" if stage.total else ""
        text = [f"{stage.done}{of} done, {len(jobs)} in progress"]
        text += [f"{rate:.3g} {unit}/s" for unit, rate in speed.rates.items()]
        waiting = (stage.total or 0) - stage.done - len(jobs)
        if waiting > 0 and stage.done:
            seconds = waiting * stage.job_seconds / stage.done / len(jobs)
            text.append(f"about {duration(seconds + (speed.left or 0))} left")
        elif speed.left is not None:
            those = "" if stage.total and waiting <= 0 else " for those in progress"
            text.append(f"{duration(speed.left)} left{those}")
        with self.lock:
            self._line(f"{rule}: {', '.join(text)}")

    def _line(self, text: str) -> None:
        share = 100 * self.done // self.total if self.total else 0
        self._print(f"{time.strftime('%H:%M:%S')} {share:3d} %  {text}")

    def _print(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _hidden(record: logging.LogRecord, event: str | None) -> bool:
    if event in EVENTS_NOT_SHOWN:
        return True
    if event == LogEvent.ERROR:
        # The job's error already says that the script exited with 1, and why.
        return record.exception == "RuleException" and "CalledProcessError" in record.getMessage()
    return record.levelno <= logging.INFO and str(record.msg).startswith(NOT_SHOWN)


def _jobs(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _last_lines(path: str) -> list[str]:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return [f"cannot be read: {error.strerror}"]
    lines = [line for line in lines if not re.match(r"\S+ INFO (ran on|packages of) ", line)]
    left = len(lines) - LOG_LINES
    return ([f"… {left} lines before"] if left > 0 else []) + lines[-LOG_LINES:]
