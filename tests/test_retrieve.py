"""Downloads, against a server on the loopback."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from geoloc.retrieve import RetrieveError, download, retrieve_source, unpack

DATA = bytes(range(256)) * 8192
ENTRY = {"size": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}


class Handler(BaseHTTPRequestHandler):
    """Serves DATA, with ranges; /cut breaks off in the middle the first time."""

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range")))
        if self.path == "/missing":
            self.send_error(404)
            return
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        cut = self.path == "/cut" and not start
        self.wfile.write(DATA[start : len(DATA) // 2 if cut else None])

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.shutdown()


def test_a_file_is_fetched_and_verified(server, tmp_path):
    download(f"{server.url}/file", tmp_path / "sub/file.pth", ENTRY)
    assert (tmp_path / "sub/file.pth").read_bytes() == DATA


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(server, tmp_path):
    path = tmp_path / "file.pth"
    with pytest.raises(RetrieveError, match="Run again to go on"):
        download(f"{server.url}/cut", path, ENTRY)
    assert not path.exists()
    download(f"{server.url}/cut", path, ENTRY)
    assert path.read_bytes() == DATA
    assert server.requests[-1] == ("/cut", f"bytes={len(DATA) // 2}-")


@pytest.mark.parametrize("entry", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"size": 7}])
def test_a_file_that_is_not_the_right_one_never_appears(server, tmp_path, entry):
    with pytest.raises(RetrieveError, match="expected"):
        download(f"{server.url}/file", tmp_path / "file.pth", entry)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["/missing", None])
def test_what_cannot_be_fetched_says_where_to_put_it(server, tmp_path, url):
    url = server.url + url if url else "http://127.0.0.1:9/file"
    with pytest.raises(RetrieveError, match=r"put it at .*file\.pth"):
        download(url, tmp_path / "file.pth", ENTRY)


def make_zip(path, name):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/ok.jpg", b"x")
        file.writestr(name, b"x")


def make_tar(path, name, link=None):
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo(name)
        if link:
            member.type, member.linkname = tarfile.SYMTYPE, link
        file.addfile(member, io.BytesIO())


@pytest.mark.parametrize("name", ["../evil.jpg", "/evil.jpg", "a/../../evil.jpg", "..\\evil.jpg"])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_no_member_of_an_archive_gets_outside_its_folder(tmp_path, make, name):
    make(tmp_path / "archive", name)
    try:
        unpack(tmp_path / "archive", tmp_path / "sub/out")
    except RetrieveError:
        assert not (tmp_path / "sub/out").exists()
    assert not list(tmp_path.rglob("sub/evil.jpg")) + list(tmp_path.glob("evil.jpg"))


def test_links_out_of_an_archive_are_refused(tmp_path):
    make_tar(tmp_path / "archive", "passwd", link="/etc/passwd")
    with pytest.raises(RetrieveError, match="cannot unpack"):
        unpack(tmp_path / "archive", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_source_without_an_address_says_what_to_put_where(tmp_path):
    entry = {"retrieve": {"archive": None}, "path": str(tmp_path), "images": "images"}
    with pytest.raises(RetrieveError, match=r"put them into .*images"):
        retrieve_source("im2gps3k", entry | {"table": "t.csv"})
