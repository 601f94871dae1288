"""Scripts run as Snakemake runs them, in this process: the text of the file with `snakemake`."""

from __future__ import annotations

import inspect
import logging
import runpy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, Wildcards
from snakemake.script import Snakemake

from geoloc.shard_lists import complete_of
from geoloc.stores import write_list
from tests.conftest import ROOT


def run_script(
    name: str,
    *,
    input: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    wildcards: dict[str, str] | None = None,
    threads: int = 1,
) -> None:
    """Run scripts/`name`.py; paths of input and output may be Path.

    Scripts that read stores compare them with no index unless `params` name its folder.
    """
    script = (ROOT / "scripts" / f"{name}.py").read_text(encoding="utf-8")
    if "index_folder" in script or "write_predictions" in script:
        params = {"index_folder": None} | (params or {})
    if "allow_cpu" in script:
        params = {"allow_cpu": True} | (params or {})
    with tempfile.TemporaryDirectory() as lists, pytest.MonkeyPatch.context() as patch:
        if "read_lists" in script or "write_predictions" in script:
            input = {k: _as_list(Path(lists, f"{k}.csv"), v) for k, v in (input or {}).items()}
        job = Snakemake(
            input_=_files(InputFiles, input),
            output=_files(OutputFiles, output),
            params=Params(fromdict=params or {}),
            wildcards=Wildcards(fromdict=wildcards or {}),
            threads=threads,
            resources={},
            log=Log(["unused.log"]),
            config={},
            rulename=name,
            bench_iteration=None,
        )
        # The log of a job takes over the logging and the exceptions of its process.
        patch.setattr("geoloc.logs.start_log", _log)
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), {"snakemake": job})


def _as_list(path: Path, files: Any) -> Any:
    """A list of shards in place of the shards, as Snakemake gives it to a job; other inputs as they
    are."""
    shards = [Path(file) for file in files] if isinstance(files, list) else []
    if not shards or not all(file.suffix in (".h5", ".csv") for file in shards):
        return files
    write_list(path, shards)
    return [path, complete_of(path)]


def _log(path: str) -> logging.Logger:
    return logging.getLogger("geoloc")


def _files(kind: type, paths: dict[str, Any] | None) -> Any:
    """Paths of a job by name; a list of them is one too where it is a list here."""
    flat = [path for value in (paths or {}).values() for path in _listed(value)]
    files, start = kind(toclone=[str(path) for path in flat]), 0
    for name, value in (paths or {}).items():
        end = start + len(_listed(value))
        files._set_name(name, start, end if isinstance(value, list) else None)
        start = end
    return files


def _listed(value: Any) -> list:
    return value if isinstance(value, list) else [value]


def recorded(
    patch: pytest.MonkeyPatch, function: str, result: Callable[[dict], Any] | None = None
) -> list[dict[str, Any]]:
    """Replace a function, named as `module.function`, and gather the arguments of its calls by
    their names, keywords included."""
    module, _, name = function.rpartition(".")
    original = getattr(__import__(module, fromlist=[name]), name)
    signature = inspect.signature(original)
    calls: list[dict[str, Any]] = []

    def call(*args, **kwargs):
        bound = signature.bind(*args, **kwargs).arguments
        found = bound.pop("settings", {}) if _takes_any(signature) else {}
        calls.append(bound | found)
        return result(calls[-1]) if result else None

    patch.setattr(function, call)
    return calls


def _takes_any(signature: inspect.Signature) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
