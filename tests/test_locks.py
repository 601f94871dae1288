"""One process works in a folder, a second one says who it is, and a killed one holds nothing."""

import errno
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from geoloc.locks import hold_while_running, interrupted, only_one
from tests.processes import ENVIRONMENT

HOLD = """
import sys
from geoloc.locks import only_one
with only_one(sys.argv[1], "training"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder_of(path: Path) -> subprocess.Popen:
    """Another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def test_the_second_process_says_who_is_at_work_and_a_killed_one_holds_nothing(tmp_path):
    path = tmp_path / "model" / "seed" / "lock"  # of folders that don't exist yet
    with holder_of(path) as process:
        who = rf"process {process.pid} on {re.escape(socket.gethostname())} since 2\d{{3}}-"
        message = who + r".*is already training; wait"
        with pytest.raises(BlockingIOError, match=message), only_one(path, "training"):
            pytest.fail("both are at work")
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert path.exists()
    with only_one(path, "training"):
        assert re.fullmatch(rf"process {os.getpid()} on \S+ since [\d:+ -]+", path.read_text())
        with pytest.raises(BlockingIOError), only_one(path, "training"):
            pass
    assert not path.exists()


RUN = """
import sys
from geoloc.locks import hold_while_running
held = hold_while_running(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_who_runs_the_workflow_is_named_and_a_killed_run_says_what_to_type(tmp_path):
    path = tmp_path / "results" / "running" / "study"
    assert interrupted(path) == ""
    for kill in (False, True):
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(path)],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout.readline() == "held\n"
            who = f"process {process.pid} on {socket.gethostname()} since "
            assert interrupted(path).startswith(who)
            assert "is running this here; wait" in interrupted(path)
            if kill:
                process.kill()
        assert path.exists() == kill
    assert interrupted(path).startswith(who)
    assert "was killed" in interrupted(path)
    assert "type `snakemake --unlock` and run again" in interrupted(path)
    held = hold_while_running(path)
    assert f"process {os.getpid()} " in interrupted(path)
    held.close()


def test_an_error_within_releases_the_lock(tmp_path):
    with pytest.raises(KeyError), only_one(tmp_path / "lock", "training"):
        raise KeyError
    with only_one(tmp_path / "lock", "training"):
        pass


def test_a_lock_file_that_its_holder_deletes_meanwhile_is_no_lock(tmp_path, monkeypatch):
    """Else two processes hold locks on two files of one name."""
    flock, path = fcntl.flock, tmp_path / "lock"

    def after_it_was_deleted(file, operation):
        path.unlink()
        monkeypatch.setattr(fcntl, "flock", flock)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", after_it_was_deleted)
    with only_one(path, "training"), pytest.raises(BlockingIOError), only_one(path, "training"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_told_of(number, tmp_path, monkeypatch, caplog):
    def unsupported(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with only_one(tmp_path / "lock", "training"):
        pass
    assert "this file system has no locks" in caplog.text


def test_another_error_of_locking_is_not_hidden(tmp_path, monkeypatch):
    def broken(file, operation):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output"), only_one(tmp_path / "lock", "training"):
        pass
