"""Runs programs in forks of a process that has imported their largest packages already.

Snakemake takes a second to be imported and TensorFlow four; a fork takes some milliseconds. The
program itself, the modules of this project and all processes that it starts are loaded anew.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]


class ForkServer:
    """A process with `modules`, started when it is first needed, which ends with this one."""

    def __init__(self, modules: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
        self.modules, self.environment = modules, environment
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run `python *arguments`, which begin with -m and a module or with -c and code."""
        with tempfile.TemporaryDirectory() as written:
            output = [str(Path(written, name)) for name in ("stdout", "stderr")]
            request = {
                "arguments": arguments,
                "folder": str(folder),
                "environment": dict(environment),
                "output": output,
            }
            status = self._ask(json.dumps(request))
            stdout, stderr = (Path(path).read_text(encoding="utf-8") for path in output)
        return subprocess.CompletedProcess(arguments, status, stdout, stderr)

    def _ask(self, request: str) -> int:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", *self.modules],
                cwd=ROOT, env={k: v for k, v in self.environment.items() if k != "PYTHONPATH"},
                text=True, encoding="utf-8", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        print(request, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the fork server ended with status {self._process.wait()}")
        return int(answer)


def serve(modules: Sequence[str]) -> None:
    """Import `modules`, then answer each line of stdin, a request, with an exit status."""
    installed, before = sys.path[1:], set(os.environ)
    sys.path.insert(0, str(ROOT / "scripts"))
    for name in modules:
        importlib.import_module(name)
    imported = {name: value for name, value in os.environ.items() if name not in before}
    gc.freeze()  # a collection would write to pages that forks share
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # of forks, not of their server
    for line in sys.stdin:
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGINT, interrupt)
            _run(json.loads(line), installed, imported)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict, installed: list[str], imported: dict[str, str]) -> NoReturn:
    """Become the program of a request, on the path of a new Python and with the environment
    variables that importing the modules has set."""
    for descriptor, path in enumerate([os.devnull, *request["output"]]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(imported | request["environment"])
    kind, program, *arguments = request["arguments"]
    added = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [request["folder"], *filter(None, added), *installed]
    sys.argv = [kind, *arguments]
    status = 1
    try:
        if kind == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
        status = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        else:
            status = int(error.code or 0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    with contextlib.suppress(BaseException):
        threading._shutdown()  # what Python does at its end, which os._exit skips
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1:])
