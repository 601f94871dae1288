"""Whoever reads a store notices any difference from what was written, and says which file and what
to do: damaged, missing, not permitted and open elsewhere are told apart."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from geoloc.stores import (
    Arrays,
    StoreError,
    check_store,
    read_scores,
    write_arrays,
    write_score_arrays,
    write_scores,
)
from geoloc.stores.errors import _explained
from geoloc.stores.layouts import LAYOUTS
from tests.conftest import ROOT
from tests.processes import ENVIRONMENT
from tests.small_stores import content, edit, write_small

SCHEMAS = tuple(LAYOUTS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    """A store of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    return {schema: write_small(folder, schema) for schema in SCHEMAS}


@pytest.fixture
def copies(whole, tmp_path) -> dict[str, Path]:
    """Copies of them, to be damaged by one test."""
    return {s: Path(shutil.copy(path, tmp_path / path.name)) for s, path in whole.items()}


def refused(path: Path, schema: str, words: str | None = None) -> None:
    """All content is read, and refused with the file, the words and the remedy."""
    with pytest.raises(StoreError, match=words) as raised:
        check_store(path, schema)
    assert str(raised.value).startswith(f"{path} ")
    assert "run snakemake again" in str(raised.value)


# ------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("schema", SCHEMAS)
def test_no_flipped_byte_changes_what_is_read(schema, whole, copies):
    """60 bytes all over the file: each is noticed, or is one that nothing is read from."""
    path, data = copies[schema], whole[schema].read_bytes()
    expected = content(path, schema)
    noticed = 0
    used = np.flatnonzero(np.frombuffer(data, np.uint8))
    for offset in used[np.linspace(0, len(used) - 1, 60).astype(int)]:
        changed = bytearray(data)
        changed[offset] ^= 0x10
        path.write_bytes(changed)
        try:
            assert content(path, schema) == expected
        except StoreError:
            noticed += 1
    assert noticed > 40


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_a_store_that_is_cut_short_is_refused(schema, share, copies):
    path = copies[schema]
    os.truncate(path, int(path.stat().st_size * share))
    refused(path, schema, "is damaged")


@pytest.mark.parametrize(("schema", "name"), [("arrays", "image"), ("score_arrays", "score")])
def test_a_page_of_zeros_is_noticed_by_the_row_that_has_it(schema, name, copies):
    path = copies[schema]
    with h5py.File(path) as file:
        offset = file[name].id.get_offset() + file[name][0].nbytes + 4096
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(4096))
    arrays = Arrays([copies["arrays"]], scores=[copies["score_arrays"]])
    arrays.read(np.array([2, 0]))
    with pytest.raises(StoreError, match=rf"{path} .*image s/b\.jpg: its data are not those"):
        arrays.read(np.array([0, 1]))


@pytest.mark.parametrize("schema", ["arrays", "score_arrays"])
def test_an_array_that_is_cut_while_it_is_used_ends_in_a_message(schema, copies):
    """A memory map would end the process with SIGBUS."""
    arrays = Arrays([copies["arrays"]], scores=[copies["score_arrays"]])
    os.truncate(copies[schema], 100_000)
    with pytest.raises(StoreError, match="cut short"):
        arrays.read(np.array([2]))


# -------------------------------------------------------------------- values and structure


def rows(name: str, at: object, value: object) -> Callable[[h5py.File], None]:
    """Set entries of a dataset."""

    def change(file: h5py.File) -> None:
        file[name][at] = value

    return change


def replace(name: str, **options) -> Callable[[h5py.File], None]:
    """Store the values of a dataset in another way; `data` for other values."""

    def change(file: h5py.File) -> None:
        values = {"data": file[name][()], "dtype": file[name].dtype} | options
        del file[name]
        file.create_dataset(name, **values)

    return change


VALUES = {
    "score 255": ("scores", rows("score", (1, 5, 5), 255), "score of 255"),
    "score 101 in arrays": ("score_arrays", rows("score", (0, 0, 0), 101), "score of 101"),
    "class 5000": ("segments", rows("class_id", (0, 0), 5000), "class .* to 5000"),
    "class 1000": ("segments", rows("class_id", (0, 0), 1000), "class .* to 1000"),
    "class -2": ("segments", rows("class_id", (0, 9), -2), "class -2"),
    "probability over 1": ("segments", rows("class_probability", (0, 0), 1.001), "probability"),
    "probability below 0": ("segments", rows("class_probability", (0, 9), -0.001), "probability"),
    "probability 2.7": ("segments", rows("class_probability", (0, 0), 2.7), "probability"),
    "probability NaN": ("segments", rows("class_probability", (3, 4), np.nan), "probability"),
    "probabilities that rise": ("segments", rows("class_probability", (0, 9), 0.99), "fall"),
    "probability without a class": ("segments", rows("class_id", (0, 3), -1), "without a class"),
    "IoU infinite": ("segments", rows("predicted_iou", -1, np.inf), "predicted IoU"),
    "IoU NaN": ("segments", rows("predicted_iou", 0, np.nan), "predicted IoU"),
    "stability over 1": ("segments", rows("stability_score", 0, 1.001), "stability"),
    "stability below 0": ("segments", rows("stability_score", 0, -0.001), "stability"),
    "area": ("segments", lambda f: rows("area", 0, f["area"][0] - 1)(f), "area"),
    "box outside": ("segments", rows("bbox", (0, 0), 4), "bounding box"),
    "box too small": ("segments", rows("bbox", (0, 2), 1), "bounding box"),
    "box of negative width": ("segments", rows("bbox", (0, 2), -1), "bounding box"),
    "a run longer": ("segments", lambda f: rows("counts", 1, f["counts"][1] + 1)(f), "add up"),
    "size": ("segments", rows("size", (0, 0), 5), "add up"),
    "height 0": ("segments", rows("size", (0, 0), 0), "without height"),
    "width 0": ("segments", rows("size", (-1, 1), 0), "without height"),
    "split": ("arrays", rows("split", 0, b"tess"), "unknown split"),
    "label": ("arrays", rows("label", 0, b"na"), "ISO code"),
    "latitude 95": ("arrays", rows("latitude", 0, 95.0), "not a place"),
    "longitude 181": ("images", rows("longitude", -1, 181.0), "not a place"),
    "latitude alone": ("arrays", rows("longitude", 0, np.nan), "not a place"),
    "longitude alone": ("images", rows("latitude", 0, np.nan), "not a place"),
    "id twice": ("images", lambda f: rows("image_id", 1, f["image_id"][0])(f), "2 times"),
}


@pytest.mark.parametrize("fitting", [False, True], ids=["digest", "value"])
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_cannot_be_is_refused_and_any_other_change_too(kind, fitting, copies):
    """Even where the digests were made to fit, as by a writer with a mistake."""
    schema, change, words = VALUES[kind]
    edit(copies[schema], change, fitting)
    refused(copies[schema], schema, words if fitting else "digest|not those that were written")


def external(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        values, raw = file[name][()], Path(file.filename).with_suffix(".raw")
        raw.write_bytes(values.tobytes())
        replace(name, data=None, shape=values.shape, external=[(str(raw), 0, values.nbytes)])(file)

    return change


def virtual(name: str) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        other = Path(file.filename).with_suffix(".other.h5")
        with h5py.File(other, "w") as target:
            target[name] = file[name][()]
            source = h5py.VirtualSource(target[name])
        layout = h5py.VirtualLayout(file[name].shape, file[name].dtype)
        layout[:] = source
        del file[name]
        file.create_virtual_dataset(name, layout)

    return change


def link(name: str, target: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = target

    return change


def bomb(name: str) -> Callable[[h5py.File], None]:
    """2 TB by a changed dataspace that nothing was written for."""

    def change(file: h5py.File) -> None:
        file[name].resize(2 << 40, axis=0)

    return change


def attribute(name: str, text: str) -> Callable[[h5py.File], None]:
    kind = h5py.string_dtype("utf-8", len(text))
    return lambda file: file.attrs.modify(name, np.array(text.encode(), kind))


STRUCTURES = {
    "external": ("arrays", external("image"), "stored in another way"),
    "virtual": ("score_arrays", virtual("score"), "stored in another way"),
    "soft link": ("arrays", link("image", h5py.SoftLink("/label")), "is a link"),
    "external link": ("scores", link("score", h5py.ExternalLink("x.h5", "/score")), "is a link"),
    "group": ("scores", lambda f: (f.pop("score"), f.create_group("score")), "not a dataset"),
    "missing": ("segments", lambda f: f.pop("area"), "missing or unknown: area"),
    "unknown": ("segments", lambda f: f.create_dataset("more", data=1), "unknown: more"),
    "compressed arrays": ("arrays", replace("image", compression="gzip"), "another way"),
    "other filter": (
        "scores", replace("score", chunks=(1, 640, 640), compression="lzf"), "filters"),
    "float scores": ("scores", replace("score", dtype="f4"), "of type float32"),
    "small masks": ("scores", replace("score", data=np.zeros((3, 320, 320), "u1")), "shape"),
    "scalar": ("arrays", replace("latitude", data=1.5), "shape"),
    "two-dimensional ids": (
        "scores", lambda f: replace("image_id", data=f["image_id"][:][None])(f), "shape"),
    "ids of variable length": (
        "scores", replace("image_id", data=["a", "b", "c"], dtype=h5py.string_dtype()), "of type"),
    "a row less": ("arrays", lambda f: replace("source", data=f["source"][:-1])(f), "2 entries"),
    "bounds all 0": ("segments", rows("offsets", slice(None), 0), "entries, expected"),
    "bounds that begin at 1": ("segments", rows("offsets", 0, 1), "does not rise from 0"),
    "bounds of runs from 1": ("segments", rows("counts_offsets", 0, 1), "does not rise from 0"),
    "bounds that fall": ("segments", rows("offsets", 1, 12), "does not rise|entries"),
    "bounds beyond": ("images", rows("offsets", -1, 1 << 60), "entries, expected"),
    "bomb": ("images", bomb("image"), "declares"),
    "bomb of runs": ("segments", bomb("counts"), "declares"),
    "attribute": ("scores", lambda f: f.attrs.create("more", 1), "unknown: more"),
    "attribute missing": ("scores", lambda f: f.attrs.__delitem__("config"), "missing"),
    "attribute of another type": ("scores", lambda f: f.attrs.create("config", 1.5), "not a text"),
    "attribute changed": ("scores", attribute("config", "0" * 16), "attributes are not those"),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_structure_that_was_not_written_is_refused(kind, copies):
    schema, change, words = STRUCTURES[kind]
    edit(copies[schema], change)
    refused(copies[schema], schema, words)


def test_text_that_is_not_utf_8_is_refused(copies):
    edit(copies["scores"], rows("image_id", 0, b"\xff\xfe"), fitting=True)
    refused(copies["scores"], "scores", "utf-8")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_rows_of_another_store_are_noticed(schema, copies, tmp_path):
    other = write_small(tmp_path, schema, seed=1)
    with h5py.File(other) as file:
        data = {name: file[name][()] for name in LAYOUTS[schema].data}

    def change(file: h5py.File) -> None:
        for name, values in data.items():
            if len(values) != len(file[name]):
                file[name].resize(len(values), axis=0)
            file[name][:] = values

    edit(copies[schema], change)
    refused(copies[schema], schema)


def test_another_layout_and_another_version_say_so(copies):
    with pytest.raises(StoreError, match=r"holds scores, expected segments; delete it"):
        check_store(copies["scores"], "segments")
    edit(copies["scores"], lambda file: file.attrs.modify("schema_version", 2))
    with pytest.raises(StoreError, match=r"layout 2 of another version.*delete the run's folders"):
        check_store(copies["scores"], "scores")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda score: score + 101, "image a: a score of 101"),
        (lambda score: score[::2, ::2], r"expected uint8 \((640|224), (640|224)\)"),
        (lambda score: score.astype(np.int64), "int64"),
    ],
)
def test_what_no_reader_would_accept_is_not_written(change, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        write_scores(tmp_path / "scores.h5", [("a", change(np.zeros((640, 640), np.uint8)))])
    with pytest.raises(ValueError, match=words):
        write_score_arrays(tmp_path / "a.h5", ["a"], [change(np.zeros((224, 224), np.uint8))])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [1, 3])
def test_another_number_of_images_than_announced_is_not_written(number, tmp_path):
    columns = {"image_id": ["a", "b"], "label": ["NA"] * 2, "split": ["val"] * 2}
    columns |= {"source": ["s"] * 2, "latitude": np.zeros(2), "longitude": np.zeros(2)}
    image, score = np.zeros((224, 224, 3), np.uint8), np.zeros((224, 224), np.uint8)
    with pytest.raises(ValueError, match="2 images announced"):
        write_arrays(tmp_path / "arrays.h5", columns, [image] * number)
    with pytest.raises(ValueError, match="2 images announced"):
        write_score_arrays(tmp_path / "arrays.h5", columns["image_id"], [score] * number)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_store_that_finds_no_room_says_so_and_never_appears(schema, tmp_path):
    """HDF5 writes much only when it closes the file."""
    (tmp_path / f".{schema}0.{os.getpid()}.partial.h5").symlink_to("/dev/full")
    with pytest.raises(OSError, match=rf"no room left.*{schema}0\.h5"):
        write_small(tmp_path, schema)
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------- locks and rights


HOLD = "import h5py, sys; file = h5py.File(sys.argv[1]); print(flush=True); sys.stdin.read()"


@pytest.mark.parametrize("where", ["another process", "this process"])
def test_a_store_that_is_open_in_a_notebook_is_read(where, whole):
    if where == "this process":
        with h5py.File(whole["scores"]):
            assert len(list(read_scores(whole["scores"]))) == 3
        return
    command = [sys.executable, "-c", HOLD, str(whole["scores"])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as notebook:
        notebook.stdout.readline()
        assert len(list(read_scores(whole["scores"]))) == 3
        notebook.stdin.close()


NO_LOCKS = """
import ctypes, fcntl, os, sys
import geoloc
from pathlib import Path
from geoloc.stores import check_store
from tests.small_stores import write_small
path = write_small(Path(sys.argv[1]), "scores")
check_store(path, "scores")
"""


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP], ids=["37", "95"])
def test_stores_work_on_a_file_system_without_locks(number, tmp_path):
    """flock and fcntl of the process fail as they do there; HDF5 is told to lock by the user."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to replace flock with")
    source = tmp_path / "locks.c"
    source.write_text(
        "#include <errno.h>\n#include <sys/file.h>\n"
        f"int flock(int file, int how) {{ errno = {number}; return -1; }}\n"
    )
    library = tmp_path / "locks.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    environment = ENVIRONMENT | {"LD_PRELOAD": str(library), "HDF5_USE_FILE_LOCKING": "TRUE"}
    command = [sys.executable, "-c", NO_LOCKS, str(tmp_path)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


@pytest.mark.parametrize("end", ["open", "killed"])
def test_a_store_that_is_open_for_writing_is_not_called_damaged(end, copies):
    path = copies["scores"]
    code = HOLD.replace("sys.argv[1]", "sys.argv[1], 'r+', libver='latest'")
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as notebook:
        notebook.stdout.readline()
        if end == "killed":
            notebook.kill()
            notebook.wait()
        with pytest.raises(StoreError) as raised:
            check_store(path, "scores")
        notebook.kill()
    message = str(raised.value)
    assert message.startswith(f"{path} is open for writing in another program")
    assert "delete" not in message
    assert "damaged" not in message


AS_NOBODY = """
import os, sys
from geoloc.stores import check_store
os.setgroups([]); os.setgid(65534); os.setuid(65534)
check_store(sys.argv[1], "scores")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_store_of_another_user_is_not_called_damaged(closed, copies):
    path = copies["scores"]
    for folder in path.parents[:-1]:
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    (path if closed == "file" else path.parent).chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(path)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    message = done.stderr.splitlines()[-1]
    assert f"StoreError: {path} may not be read by nobody" in message
    assert "mode 600, owner root" in message
    assert f"chmod a+r {path}" in message if closed == "file" else f"a+rx {path.parent}" in message
    assert "delete" not in message


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "link to itself", "link to nothing"])
def test_what_is_no_file_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "scores.h5"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind.startswith("link"):
        path.symlink_to(path if kind == "link to itself" else "nothing")
    with pytest.raises(StoreError, match=r"scores\.h5 ") as raised:
        check_store(path, "scores")
    assert isinstance(raised.value, FileNotFoundError) == (kind in ("missing", "link to nothing"))
    assert "damaged" not in str(raised.value)


def test_a_disk_that_fails_is_not_called_damage(whole, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    arrays = Arrays([whole["arrays"]])
    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(StoreError, match=r"cannot be read \(Input/output error\); check the disk"):
        arrays.read(np.array([0]))


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOLCK])
def test_an_error_of_locks_is_no_damage(number):
    told = str(_explained("a.h5", OSError(number, os.strerror(number))))
    assert told.startswith("a.h5 is open for writing in another program")
