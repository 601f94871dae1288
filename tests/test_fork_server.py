"""A program in a fork behaves as one that Python starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fork_server import ForkServer

PROGRAM = """
import atexit, os, sys, threading
atexit.register(print, "the end", file=sys.stderr)
threading.Timer(0.1, print, ["a thread"]).start()
print(sys.argv, sys.path, sorted(os.environ.items()), os.getcwd(), __name__)
"""


@pytest.fixture(scope="module")
def server() -> ForkServer:
    return ForkServer(["json"])


@pytest.mark.parametrize(
    "end",
    ["", "sys.exit()", "sys.exit(3)", "sys.exit('no weights')", "raise ValueError('no weights')"],
)
def test_a_fork_sees_and_leaves_what_a_program_does(server, end, tmp_path):
    arguments = ["-c", PROGRAM + end, "an argument", "--option"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "first"), "ASKED": "yes"}
    found = server.run(arguments, tmp_path, environment)
    expected = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path, env=environment, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert found.returncode == expected.returncode
    assert found.stdout == expected.stdout.replace("['', ", f"['{tmp_path}', ")
    assert found.stderr.splitlines()[-1] == expected.stderr.splitlines()[-1] == "the end"
    assert ("no weights" in found.stderr) == ("no weights" in expected.stderr)


def test_modules_of_a_folder_run_one_after_the_other_without_each_others_changes(server, tmp_path):
    (tmp_path / "counted.py").write_text("import json\nprint(vars(json).get('n'))\njson.n = 1\n")
    for _ in range(2):
        assert server.run(["-m", "counted"], tmp_path, os.environ).stdout == "None\n"


def test_a_server_that_cannot_start_is_an_error():
    with pytest.raises((RuntimeError, BrokenPipeError)):
        ForkServer(["no_such_module"]).run(["-c", ""], Path.cwd(), os.environ)
