"""Jobs that Snakemake plans for a configuration, without starting it as a program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from snakemake.api import SnakemakeApi
from snakemake.jobs import Job
from snakemake.settings.enums import Quietness
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    DeploymentSettings,
    OutputSettings,
    ResourceSettings,
    StorageSettings,
    WorkflowSettings,
)


def planned(
    folder: Path, config: dict, *configfiles: Path, target: str = "all"
) -> dict[str, list[Job]]:
    """The jobs of a run in `folder`, a checkout, by rule: those that have been done too.

    `target` is a rule or a file. `config` is laid over config/config.yaml and `configfiles`.
    """
    changed = folder / "planned.yaml"
    changed.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=64),
            config_settings=ConfigSettings(configfiles=[*configfiles, changed]),
            storage_settings=StorageSettings(),
            workflow_settings=WorkflowSettings(),
            deployment_settings=DeploymentSettings(),
            snakefile=folder / "Snakefile",
            workdir=folder,
        )
        workflow.dag(DAGSettings(targets={target}))
        # What `DAGApi.printdag` does before it prints.
        planner = workflow._workflow
        planner._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        planner._build_dag()
        jobs: dict[str, list[Job]] = {}
        for job in planner.dag.jobs:
            _ = job.params, job.resources, job.input  # functions in rules are called here
            jobs.setdefault(job.rule.name, []).append(job)
        return jobs


def value_at(jobs: dict[str, list[Job]], place: str) -> Any:
    """What stands at a place of a job: `rule.params.name.key`, `rule[wildcard].threads`, …

    A wildcard's value in brackets chooses one of several jobs. `input` and `output` are lists of
    paths as text.
    """
    head, *path = place.split(".")
    rule, _, wildcard = head.rstrip("]").partition("[")
    chosen = [job for job in jobs[rule] if not wildcard or wildcard in job.wildcards]
    value: Any = chosen[0]
    if path[0] in ("input", "output"):
        return [str(file) for file in getattr(value, path[0])]
    for name in path:
        value = value.get(name) if hasattr(value, "get") else getattr(value, name)
    return value
