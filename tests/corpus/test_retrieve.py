"""Data and weights from elsewhere, against a server on the loopback."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from geoloc.corpus.archives import ArchiveError
from geoloc.corpus.download import RetrieveError, checked_hash, download, load_weights, wrong_sizes
from geoloc.corpus.file_starts import described, is_web_page
from geoloc.corpus.retrieve import retrieve_source
from geoloc.logs import expected_at
from tests.conftest import ROOT

DATA = bytes(range(256)) * 8192
ENTRY = {"size": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}


class Handler(BaseHTTPRequestHandler):
    """Serves the files of the server, with ranges but below /plain. What lies below /cut or /plain
    breaks off in the middle when it is asked for from the beginning for the first time."""

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        first = not any(path == self.path for path, _ in server.requests)
        server.requests.append((self.path, wanted))
        data = server.files.get(self.path.rpartition("/")[2])
        if data is None:
            self.send_error(404)
            return
        start = int(wanted[6:-1]) if wanted and not self.path.startswith("/plain") else 0
        if start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = self.path.startswith(("/cut", "/plain")) and first
        self.wfile.write(data[start : len(data) // 2 if cut else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.files = [], {"file": DATA}
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


def test_a_file_is_fetched_and_verified(server, tmp_path):
    download(f"{server.url}/file", tmp_path / "sub/file.pth", ENTRY)
    assert (tmp_path / "sub/file.pth").read_bytes() == DATA


@pytest.mark.parametrize("path", ["/cut/file", "/plain/file"])
def test_a_download_that_was_cut_off_goes_on(server, tmp_path, path):
    """Where it stopped or, with a server that knows no ranges, from the beginning."""
    target = tmp_path / "file.pth"
    with pytest.raises(RetrieveError, match="Run again to resume"):
        download(server.url + path, target, ENTRY)
    assert not target.exists()
    download(server.url + path, target, ENTRY)
    assert target.read_bytes() == DATA
    assert server.requests[-1] == (path, f"bytes={len(DATA) // 2}-")


def test_a_download_that_was_killed_before_it_was_renamed_is_only_verified(server, tmp_path):
    (tmp_path / "file.pth.partial").write_bytes(DATA)
    download(f"{server.url}/file", tmp_path / "file.pth", ENTRY)
    assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]


def test_the_rest_of_another_file_is_not_taken_for_this_one(server, tmp_path):
    (tmp_path / "file.pth.partial").write_bytes(DATA + b"more")
    with pytest.raises(RetrieveError, match="Run again"):
        download(f"{server.url}/file", tmp_path / "file.pth")
    download(f"{server.url}/file", tmp_path / "file.pth")
    assert (tmp_path / "file.pth").read_bytes() == DATA


@pytest.mark.parametrize("entry", [{"sha256": "0" * 64}, {"size": 7}])
def test_a_file_that_is_not_the_right_one_never_appears(server, tmp_path, entry):
    with pytest.raises(RetrieveError, match="expected"):
        download(f"{server.url}/file", tmp_path / "file.pth", entry)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["/missing", "http://127.0.0.1:9/file", "http://nowhere.invalid/x"])
def test_what_cannot_be_fetched_says_how_large_it_is_and_where_to_put_it(server, tmp_path, url):
    url = server.url + url if url.startswith("/") else url
    with pytest.raises(RetrieveError, match=r"\(2\.5 GB\).*put it at .*file\.pth"):
        download(url, tmp_path / "file.pth", {"size": 2_500_000_000})


def test_a_file_larger_than_the_disk_is_not_begun(server, tmp_path):
    with pytest.raises(RetrieveError, match="it needs 1000000.0 GB, which are not free"):
        download(f"{server.url}/file", tmp_path / "file.pth", {"size": 10**15})
    assert server.requests == []


def test_half_a_copy_of_weights_is_found_by_its_size(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"half")
    (tmp_path / "b.pth").write_bytes(b"whole")
    weights = {"a.pth": {"size": 8}, "b.pth": {"size": 5}, "absent.pth": {"size": 1}, "hub": {}}
    assert wrong_sizes(weights, tmp_path) == [
        f"{tmp_path / 'a.pth'} has 4 bytes, expected 8; delete it"
    ]


# -------------------------------------------------------------------------------- sources


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, name)
    return buffer.getvalue()


FOLDERS = {"kind": "country_folders", "images": "compressed_dataset", "table": None}
TABLE = {"kind": "coordinates_table", "images": "images", "table": "t.csv"}


CSV = b"latitude,longitude\n1,2\n"


def entry(layout, folder, **how):
    return layout | {"path": str(folder), "retrieve": how}


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("top", ["", "archive/", "a/b/"])
def test_an_archive_beside_the_folder_is_unpacked_and_used(tmp_path, top):
    (tmp_path / "set.zip").write_bytes(zipped(f"{top}compressed_dataset/Chad/1.jpg"))
    retrieve_source("x", entry(FOLDERS, tmp_path / "set", kaggle="a/b"))
    assert "compressed_dataset/Chad/1.jpg" in files_of(tmp_path / "set")


@pytest.mark.parametrize("top", ["", "im2gps3ktest/", "images/"])
def test_the_only_folder_of_images_is_the_one_meant(server, tmp_path, top):
    """Im2GPS3k's archive calls it im2gps3ktest, and its table comes from elsewhere."""
    server.files |= {"a.zip": zipped(f"{top}1.jpg", f"{top}2.jpg"), "t.csv": CSV}
    how = {"archive": f"{server.url}/a.zip", "table_url": f"{server.url}/t.csv"}
    retrieve_source("x", entry(TABLE, tmp_path / "set", **how))
    assert files_of(tmp_path / "set") == ["images/1.jpg", "images/2.jpg", "t.csv"]
    assert not (tmp_path / ".set.download").exists()


def test_a_damaged_download_is_deleted_and_fetched_again(server, tmp_path):
    whole = zipped("images/1.jpg", "t.csv")
    server.files["a.zip"] = whole[:-30]
    source = entry(TABLE, tmp_path / "set", archive=f"{server.url}/a.zip")
    with pytest.raises(RetrieveError, match=r"deleted .*a\.zip.*Run again"):
        retrieve_source("x", source)
    assert files_of(tmp_path) == []
    server.files["a.zip"] = whole
    retrieve_source("x", source)
    assert files_of(tmp_path / "set") == ["images/1.jpg", "t.csv"]


def test_a_download_that_is_whole_is_kept_where_its_folders_are_others(server, tmp_path):
    server.files["a.zip"] = zipped("pictures/Chad/1.jpg")
    source = entry(FOLDERS, tmp_path / "set", archive=f"{server.url}/a.zip")
    with pytest.raises(RetrieveError, match="set sources"):
        retrieve_source("x", source)
    assert files_of(tmp_path) == [".set.download/a.zip"]


@pytest.mark.parametrize("place", ["set.zip", "elsewhere.zip"])
def test_a_damaged_archive_of_the_users_own_is_never_deleted(tmp_path, place):
    (tmp_path / place).write_bytes(zipped("images/1.jpg")[:-30])
    how = {"archive": str(tmp_path / place)}
    with pytest.raises(ArchiveError, match="cut off"):
        retrieve_source("x", entry(TABLE, tmp_path / "set", **how))
    assert files_of(tmp_path) == [place]


def test_an_archive_in_the_configuration_comes_before_kaggle(kaggle, tmp_path):
    """An overlay that sets it keeps the other keys of the entry."""
    (tmp_path / "mine.zip").write_bytes(zipped("compressed_dataset/Peru/1.jpg"))
    how = {"kaggle": "owner/name", "archive": str(tmp_path / "mine.zip")}
    retrieve_source("x", entry(FOLDERS, tmp_path / "set", **how))
    assert files_of(tmp_path / "set") == ["compressed_dataset/Peru/1.jpg"]
    assert kaggle.requests == []


def test_a_link_to_an_archive_will_do(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_bytes(zipped("images/1.jpg", "t.csv"))
    (tmp_path / "set.zip").symlink_to(tmp_path / "elsewhere/x")
    retrieve_source("x", entry(TABLE, tmp_path / "set", archive=None))
    assert files_of(tmp_path / "set") == ["images/1.jpg", "t.csv"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["pictures/Chad/1.jpg"],
            "has pictures, but no folder compressed_dataset; set sources",
        ),
        (["readme.txt"], "the archive has readme.txt, but no folder"),
    ],
)
def test_an_archive_of_something_else_says_what_is_in_it(tmp_path, names, message):
    (tmp_path / "set.zip").write_bytes(zipped(*names))
    with pytest.raises(RetrieveError, match=message):
        retrieve_source("x", entry(FOLDERS, tmp_path / "set", kaggle="a/b"))
    assert not (tmp_path / "set").exists()


def test_a_source_without_an_address_says_what_from_where_how_large_and_into_which_folder(tmp_path):
    how = {"archive": None, "page": "https://example.org/set", "gigabytes": 0.48}
    with pytest.raises(RetrieveError) as error:
        retrieve_source("x", entry(TABLE, tmp_path / "set", **how))
    for part in ("about 0.48 GB", "https://example.org/set", "set.zip", "set/images", "set/t.csv"):
        assert part in str(error.value)


def test_a_link_to_nowhere_is_named(tmp_path):
    (tmp_path / "set").symlink_to(tmp_path / "unmounted")
    with pytest.raises(RetrieveError, match="unmounted, which does not exist"):
        retrieve_source("x", entry(TABLE, tmp_path / "set", archive=None))


# ------------------------------------------------------------------ answers that are something else

SIGN_IN = b"\n<!DOCTYPE html>\n<html><head><title>Sign in\n to go on</title></head></html>"
OTHERS = {
    "a web page": (SIGN_IN, "a web page .'Sign in to go on'."),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "AccessDenied"),
    "JSON": (b'{"message": "quota exceeded"}', "quota exceeded"),
    "nothing": (b" ", "a file with only whitespace"),
    "bytes": (b"\x89PNG\r\n\x1a\n" + bytes(600), "the bytes 89 50 4e 47"),
}


@pytest.mark.parametrize(
    ("data", "seems", "page"),
    [
        (b"", "an empty file", False),
        (b"\r\n ", "a file with only whitespace", False),
        (b"\xef\xbb\xbf<!-- a\nb --> <HTML><Title>\n A  b </title>", "a web page ('A b')", True),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html>", "a web page", True),
        (b"<script>x</script>", "a web page", True),
        (b"<title>" + b"y" * 90, "a text file that starts with '<title>" + "y" * 53 + "'", False),
        (b"<html><title>" + b"y" * 90, f"a web page ({'y' * 60!r})", True),
        (
            b"<headers>" + b"y" * 60_000,
            "a text file that starts with '<headers>" + "y" * 51 + "'",
            False,
        ),
        ("é,\n b".encode(), "a text file that starts with 'é, b'", False),
        (b"a\x00b" + bytes(9), "a file that starts with the bytes 61 00 62 00 00 00 00 00", False),
        (b"<!---->" * 9000, f"a text file that starts with {'<!---->' * 8 + '<!--'!r}", False),
        (b"<!--\n-->" * 30 + b"<body>", "a web page", True),
        (b"caf\xe9", "a file that starts with the bytes 63 61 66 e9", False),
    ],
)
def test_a_file_is_described_by_its_beginning(tmp_path, data, seems, page):
    (tmp_path / "file").write_bytes(data)
    assert described(tmp_path / "file") == seems
    assert is_web_page(tmp_path / "file") == page


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("what", ["table", "archive", "weights"])
def test_an_answer_that_is_something_else_is_not_accepted_and_the_next_run_heals(
    server, tmp_path, what, other
):
    """A server answers with the status 200 and a page for signing in, an error as text, ..."""
    data, seems = OTHERS[other]
    files = {"a.zip": zipped("1.jpg"), "t.csv": CSV, "w.pth": b"weights"}
    name = {"table": "t.csv", "archive": "a.zip", "weights": "w.pth"}[what]
    how = {"archive": f"{server.url}/a.zip", "table_url": f"{server.url}/t.csv"}

    def retrieve():
        if what == "weights":
            sums = {"size": 7, "sha256": hashlib.sha256(b"weights").hexdigest()}
            return download(f"{server.url}/w.pth", tmp_path / "w.pth", sums)
        return retrieve_source("x", entry(TABLE, tmp_path / "set", **how))

    server.files |= files | {name: data}
    with pytest.raises(RetrieveError) as error:
        retrieve()
    assert expected_at(error.value, error.tb)
    if what != "weights" or other == "a web page":
        assert re.search(rf"{server.url}/{name} returned .*{seems}.*in a browser", str(error.value))
    assert name not in [file.rpartition("/")[2] for file in files_of(tmp_path)]
    server.files |= files
    retrieve()
    assert {"w.pth"} == set(files_of(tmp_path)) or "set/images/1.jpg" in files_of(tmp_path)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"lat,lon\n1,2\n", "no column 'IMG_ID'"),
        (b"IMG_ID,LAT,LON\n", "it is empty below its header"),
        (b"a.jpg,1.0,2.0\nb.jpg,3.0,4.0\n", "first row seems to be data"),
    ],
)
def test_a_table_has_the_configured_columns_before_it_is_accepted(server, tmp_path, table, reason):
    columns = {"file_column": "IMG_ID", "latitude_column": "LAT", "longitude_column": "LON"}
    how = {"archive": f"{server.url}/a.zip", "table_url": f"{server.url}/t.csv"}
    source = entry(TABLE, tmp_path / "set", **how) | columns
    server.files |= {"a.zip": zipped("1.jpg"), "t.csv": table}
    with pytest.raises(RetrieveError, match=reason):
        retrieve_source("x", source)
    server.files["t.csv"] = b"IMG_ID,LAT,LON\n1.jpg,1,2\n"
    retrieve_source("x", source)
    assert files_of(tmp_path / "set") == ["images/1.jpg", "t.csv"]


def test_a_table_that_an_earlier_run_accepted_is_checked_and_left_to_its_owner(server, tmp_path):
    (tmp_path / "t.csv").write_bytes(SIGN_IN)
    how = {"archive": f"{server.url}/a.zip", "table_url": f"{server.url}/t.csv"}
    server.files |= {"a.zip": zipped("1.jpg"), "t.csv": CSV}
    with pytest.raises(RetrieveError, match=r"t\.csv is a web page .*Delete it and run again"):
        retrieve_source("x", entry(TABLE, tmp_path / "set", **how))
    assert (tmp_path / "t.csv").read_bytes() == SIGN_IN


# --------------------------------------------------------------------------------- Kaggle


class KaggleHandler(Handler):
    """What the official client asks Kaggle for: the license of a dataset and its archive."""

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        user = self.headers.get("Authorization")
        self.server.requests.append((self.path.rpartition("/")[2], user))
        if self.path.endswith("DownloadDataset"):
            data, kind = self.server.files["a.zip"], "application/zip"
        else:
            data, kind = b'{"info": {"licenses": [{"name": "CC0-1.0"}]}}', "application/json"
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def kaggle(server, monkeypatch, tmp_path):
    """The official client, without credentials, talking to a server on the loopback."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home"))
    from kagglesdk import kaggle_env

    endpoints = dict.fromkeys(kaggle_env.KaggleEnv, server.url)
    monkeypatch.setattr(kaggle_env, "_env_to_endpoint", endpoints)
    server.RequestHandlerClass = KaggleHandler
    server.files["a.zip"] = zipped("compressed_dataset/Chad/1.jpg")
    return server


def test_a_kaggle_dataset_is_fetched_with_the_users_credentials(kaggle, monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    retrieve_source("x", entry(FOLDERS, tmp_path / "set", kaggle="owner/name"))
    assert files_of(tmp_path / "set") == ["compressed_dataset/Chad/1.jpg"]
    assert not (tmp_path / ".set.download").exists()
    assert all(user.startswith("Basic ") for _, user in kaggle.requests)


def test_a_damaged_archive_from_kaggle_is_deleted(kaggle, monkeypatch, tmp_path):
    monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    kaggle.files["a.zip"] = kaggle.files["a.zip"][:-30]
    with pytest.raises(RetrieveError, match="Run again to download it again"):
        retrieve_source("x", entry(FOLDERS, tmp_path / "set", kaggle="owner/name"))
    assert not list((tmp_path / ".set.download").glob("*.zip"))


def test_missing_credentials_say_how_to_give_them_and_how_to_do_without(kaggle, tmp_path):
    with pytest.raises(RetrieveError) as error:
        retrieve_source("x", entry(FOLDERS, tmp_path / "set", kaggle="owner/name", gigabytes=8))
    message = str(error.value)
    for part in ("KAGGLE_API_TOKEN", "8 GB", "kaggle.com/datasets/owner/name", "set.zip"):
        assert part in message


def test_a_folder_of_weights_has_a_hash_of_its_files_and_is_compared_with_known_sums(tmp_path):
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    weights.write_bytes(b"weights")
    config.write_text("{}")
    digest = hashlib.sha256(b"weights").hexdigest()
    entry = {
        "hub_id": "a/b",
        "files": {"model.safetensors": {"sha256": digest}, "config.json": None},
    }
    before = checked_hash(tmp_path, entry)
    assert before == checked_hash(tmp_path, {})
    config.write_text("{ }")
    assert checked_hash(tmp_path, entry) != before
    weights.write_bytes(b"others")
    with pytest.raises(RetrieveError, match=f"expected {digest}"):
        checked_hash(tmp_path, entry)


# ------------------------------------------------------------------------------ the tables


def test_every_weight_has_what_it_takes_to_fetch_and_verify_it():
    for name, weight in load_weights(ROOT / "config/weights.yaml").items():
        assert weight["license"], name
        if "url" in weight:
            assert weight["url"].startswith("https://")
            assert weight["url"].endswith(f"/{name}")
            assert weight["size"] > 0
            assert re.fullmatch(r"[0-9a-f]{64}", weight["sha256"])
        else:
            assert re.fullmatch(r"[0-9a-f]{40}", weight["revision"])


def test_the_table_of_the_docs_is_that_of_the_configuration():
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    for name, weight in load_weights(ROOT / "config/weights.yaml").items():
        gigabytes = weight.get("gigabytes") or weight["size"] / 1e9
        source = weight.get("url") or f"https://huggingface.co/{weight['hub_id']}"
        cells = (weight["model"], f"`{name}`", f"{gigabytes:.2f}", weight["license"])
        assert f"| {' | '.join(cells)} | <{source}> |" in text
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    for name, source in (config["sources"] | config["test_sets"]).items():
        how = source["retrieve"]
        page = how.get("page") or f"https://www.kaggle.com/datasets/{how['kaggle']}"
        row = next(line for line in text.splitlines() if f"`{source['path']}`" in line)
        assert f"<{page}>" in row, name
        assert f"| {how.get('gigabytes', 'unknown')} |" in row
