"""Files are whole or absent, and a full disk is told of in one line with the file's name."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from geoloc.files import (
    atomic_folder,
    atomic_path,
    file_hash,
    told_if_full,
    utf8_name,
    write_text,
)
from geoloc.locks import hold_while_running
from geoloc.stores.layouts import LAYOUTS
from tests.processes import ENVIRONMENT
from tests.small_stores import write_small

WRITERS = {
    "text": "temporary.write_text('x' * 4_000_000)",
    "csv": "pd.DataFrame({'a': numbers}).to_csv(temporary)",
    "parquet": "pd.DataFrame({'a': numbers}).to_parquet(temporary)",
    "npz": "np.savez(temporary, a=numbers)",
    "h5": "with h5py.File(temporary, 'w', libver='latest') as file: file['a'] = numbers",
    "safetensors": "save_file({'a': numbers}, temporary)",
    "pt": "torch.save({'a': torch.from_numpy(numbers)}, temporary)",
    "png": "Image.fromarray(numbers.view(np.uint8).reshape(2000, -1)).save(temporary)",
}
WRITE = """
import sys
from geoloc.files import atomic_path
import h5py, torch
import numpy as np, pandas as pd
from PIL import Image
from safetensors.numpy import save_file
numbers = np.random.default_rng(0).random(500_000)
_, folder, *writers = sys.argv
for writer in writers:
    kind, _, code = writer.partition(":")
    try:
        with atomic_path(f"{folder}/results.{kind}") as temporary:
            exec(code)
    except OSError as error:
        print(error)
"""


@pytest.fixture
def small_disk(tmp_path) -> Path:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_what_killed_jobs_left_is_deleted_by_the_next_and_nothing_else(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / f".t.{ended.pid}.partial.csv"
    others = [f".t.{os.getppid()}.partial.csv", f".u.{ended.pid}.partial.csv", ".t.x.partial.csv"]
    for path in [left, *(tmp_path / name for name in others)]:
        path.write_text("half")
    (tmp_path / f".t.{ended.pid}.partial").mkdir()
    write_text(tmp_path / "t.csv", "whole")
    assert {path.name for path in tmp_path.iterdir()} == {
        "t.csv",
        f".t.{ended.pid}.partial",
        *others,
    }
    with atomic_folder(tmp_path / "t") as temporary:
        (temporary / "a").write_text("whole")
    assert not (tmp_path / f".t.{ended.pid}.partial").exists()
    assert (tmp_path / "t/a").exists()


def test_a_folder_is_listed_once_however_many_files_are_written_to_it(tmp_path, monkeypatch):
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or scandir(folder))
    for number in range(20):
        write_text(tmp_path / f"{number}.txt", "whole")
    assert listed == [str(tmp_path)]


def test_a_full_disk_is_told_of_whatever_writes(small_disk):
    """By one process, which ends in peace: libraries have crashed at their end after that."""
    writers = [f"{kind}:{code}" for kind, code in WRITERS.items()]
    done = subprocess.run(
        [sys.executable, "-c", WRITE, str(small_disk), *writers],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for kind, line in zip(WRITERS, done.stdout.splitlines(), strict=True):
        assert "no room left on the disk" in line
        assert line.endswith(f"make room and run again: '{small_disk}/results.{kind}'")
    assert list(small_disk.iterdir()) == []


def test_a_lock_that_finds_no_room_names_its_file(small_disk):
    with (small_disk / "fill").open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(2 << 20))
    with pytest.raises(OSError, match=r"no room left on the disk .*/small\.running'$"):
        hold_while_running(small_disk / "small.running")


def test_what_was_there_stays_when_the_disk_is_full(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    temporary = f".a.{os.getpid()}.partial.txt"
    (tmp_path / temporary).symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"no room left.*a\.txt"):
        write_text(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "x"),
        OSError(errno.EDQUOT, "x"),
        RuntimeError(f"writing failed: {os.strerror(errno.ENOSPC)} (os error 28)"),
        OSError(f"cannot write (errno = {errno.EDQUOT}, '{os.strerror(errno.EDQUOT)}')"),
    ],
)
def test_libraries_say_in_many_ways_that_there_is_no_room(error, tmp_path):
    path, message = tmp_path / "a.h5", r"no room left.*a\.h5'$"
    with pytest.raises(OSError, match=message) as told, told_if_full(path):
        raise error
    assert told.value.errno in (errno.ENOSPC, errno.EDQUOT)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EACCES, "x"), OSError("damaged"), RuntimeError("x"), KeyError("x")],
)
def test_other_errors_stay_what_they_are(error, tmp_path):
    with pytest.raises(type(error)) as told, told_if_full(tmp_path / "a.h5"):
        raise error
    assert told.value is error


def test_a_file_appears_whole(tmp_path):
    with atomic_path(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("all")
        assert temporary.suffix == ".txt"
        assert not (tmp_path / "new" / "a.txt").exists()
    assert [path.read_text() for path in (tmp_path / "new").iterdir()] == ["all"]


@pytest.mark.parametrize("suffix", [".txt", ""])
def test_an_error_leaves_what_was_there_and_nothing_else(suffix, tmp_path):
    atomic = atomic_path if suffix else atomic_folder
    path = tmp_path / f"a{suffix}"
    path.mkdir() if atomic is atomic_folder else path.write_text("old")
    with suppress(KeyError), atomic(path) as temporary:
        assert temporary == tmp_path / f".a.{os.getpid()}.partial{suffix}"
        (temporary if atomic is atomic_path else temporary / "new").write_text("new")
        raise KeyError
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_dir() or path.read_text() == "old"


def test_a_folder_appears_whole_in_place_of_another(tmp_path):
    folder = tmp_path / "new" / "model"
    for files in (["a", "sub/b"], ["sub/c"]):
        left = folder.with_name(f".model.{os.getpid()}.partial")
        left.mkdir(parents=True)
        (left / "of a killed job").touch()
        with atomic_folder(folder) as temporary:
            for name in files:
                (temporary / name).parent.mkdir(exist_ok=True)
                (temporary / name).write_text(name)
            assert not (folder / files[-1]).exists()
        found = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        assert sorted(found) == files
        assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("atomic", [atomic_path, atomic_folder])
def test_files_are_on_the_disk_before_they_get_their_name(atomic, tmp_path, monkeypatch):
    """Else a crash of the machine can leave empty files under it."""
    order, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (order.append("flush"), fsync(file)))
    monkeypatch.setattr(os, "replace", lambda *names: (order.append("name"), replace(*names)))
    with atomic(tmp_path / "a") as temporary:
        (temporary if atomic is atomic_path else temporary / "b").write_text("all")
    assert order == ["flush", "name"]


def test_what_is_no_error_of_a_full_disk_says_so_only_where_the_disk_is_full(tmp_path, monkeypatch):
    """HDF5 and others tell nothing but that it did not work."""
    path = tmp_path / "a.h5"
    for free, expected in ((0, errno.ENOSPC), (1, None)):
        monkeypatch.setattr(os, "statvfs", lambda folder, n=free: SimpleNamespace(f_bavail=n))
        for error in (OSError("cannot write"), RuntimeError("cannot write")):
            with pytest.raises(OSError if expected else type(error)) as told, told_if_full(path):
                raise error
            assert getattr(told.value, "errno", None) == expected
        with pytest.raises(KeyError), told_if_full(path):
            raise KeyError


def test_names_and_sums_of_files(tmp_path):
    assert utf8_name(os.fsdecode(b"caf\xc3\xa9 \xe9.jpg")) == "café \\xe9.jpg"
    write_text(tmp_path / "a", "café")
    assert (tmp_path / "a").read_bytes() == "café".encode()
    assert file_hash(tmp_path / "a") == hashlib.sha256("café".encode()).hexdigest()


FILL = """
import sys
from pathlib import Path
from geoloc.logs import start_log
from tests.small_stores import write_small
start_log(sys.argv[3])
write_small(Path(sys.argv[1]), sys.argv[2], ids=sys.argv[4:])
"""


@pytest.mark.parametrize("schema", LAYOUTS)
def test_a_store_that_finds_no_room_ends_its_job_in_one_line(schema, small_disk, tmp_path):
    """At several fill levels: at once, in the middle, when HDF5 closes the file. It has crashed."""
    ids = [str(number) for number in range(4)]
    needed = write_small(tmp_path, schema, ids=ids).stat().st_size >> 10
    command = [sys.executable, "-c", FILL, str(small_disk), schema, str(tmp_path / "log"), *ids]
    filler = small_disk / "filler"
    for share in (0, 0.3, 0.9):
        filler.write_bytes(bytes((1020 - int(share * needed)) << 10))
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        (line,) = done.stderr.splitlines()
        path = small_disk / f"{schema}0.h5"
        assert (
            f"no room left on the disk or in its quota; make room and run again: '{path}'" in line
        )
        assert list(small_disk.iterdir()) == [filler]
        filler.unlink()
