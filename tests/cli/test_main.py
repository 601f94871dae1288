"""The command `geoloc`: every command explains itself, and what does not exist is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

import geoloc
from geoloc.cli.main import COMMANDS, main
from tests.conftest import ROOT
from tests.processes import ENVIRONMENT


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "geoloc", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(name):
    result = run(name, "--help")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"usage: geoloc {name} ")
    assert result.stdout.count(f"geoloc {name} ") >= 2


def test_the_exit_status_is_that_of_the_command(tmp_path):
    result = run("verify", str(tmp_path))
    assert result.returncode == 2
    assert "is not a run" in result.stderr


def test_without_a_command_all_are_listed(capsys):
    assert main([]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in COMMANDS)


def test_an_unknown_command_is_named(capsys):
    assert main(["predcit"]) == 2
    assert "unknown command 'predcit'" in capsys.readouterr().err


def test_an_error_for_the_user_is_one_line(capsys, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["missing"]) == 2
    told = capsys.readouterr().err
    assert told == "error: snakemake is not on the path; run source .venv/bin/activate\n"


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"geoloc {geoloc.__version__}\n"
