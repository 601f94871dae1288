"""A model folder from its hub, against a stand-in for the hub on the loopback."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from transformers import CLIPImageProcessor, CLIPProcessor

from geoloc.corpus.download import RetrieveError
from geoloc.image_text.folder import load_clip
from geoloc.image_text.retrieve import retrieve_model
from geoloc.image_text.tokenizer import train_tokenizer
from geoloc.image_text.training import ClipParameters, build_clip
from geoloc.segmentation.segmenters.semantic.networks import load_semantic
from tests.small_segmenters import semantic_folder

COMMIT = "1e943dfc2f4741793aa7b61577d7f1950d0b7ff5"


class Hub(BaseHTTPRequestHandler):
    """The part of a hub's interface that fetching a folder at a commit needs."""

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body):
        files, name = self.server.files, self.path.rpartition("/")[2]
        self.server.asked.append((self.command, self.path))
        if self.path.startswith(f"/api/models/owner/model/tree/{COMMIT}"):
            rows = [
                {"type": "file", "path": file, "size": len(data), "oid": "0"}
                for file, data in files.items()
            ]
            self._send(json.dumps(rows).encode())
        elif self.path.startswith(f"/api/models/owner/model/revision/{COMMIT}"):
            names = [{"rfilename": file} for file in files]
            self._send(json.dumps({"id": "owner/model", "sha": COMMIT, "siblings": names}).encode())
        elif self.path == f"/owner/model/resolve/{COMMIT}/{name}" and name != self.server.broken:
            data = files[name]
            self._send(data if with_body else b"", len(data), hashlib.sha256(data).hexdigest())
        else:
            self.send_error(404)

    def _send(self, body, length=None, tag=""):
        self.send_response(200)
        self.send_header("Content-Length", str(length if length is not None else len(body)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", f'"{tag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small CLIP and its files as StreetCLIP is published: the weights as a pickle, with the
    buffers that older versions saved."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["Namibia", "Norway"])
    model = build_clip(
        tokenizer, ClipParameters(image_size=8, patch_size=4, hidden_size=8, layers=1)
    )
    side = {"height": 8, "width": 8}
    images = CLIPImageProcessor(size={"shortest_edge": 8}, crop_size=side)
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    state = model.state_dict() | {
        name: buffer for name, buffer in model.named_buffers() if "position_ids" in name
    }
    assert len(state) == len(model.state_dict()) + 2
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "evil.py").write_text("raise SystemExit('run')")
    return model, {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def hub(model, monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.files, server.asked, server.broken = dict(model[1]), [], None
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        # What the environment variable HF_ENDPOINT sets before the first import.
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
        server.shutdown()


@pytest.fixture
def entry(model):
    digest = hashlib.sha256(model[1]["pytorch_model.bin"]).hexdigest()
    files = dict.fromkeys(sorted(model[1].keys() - {"evil.py"})) | {
        "pytorch_model.bin": {"sha256": digest}
    }
    return {"hub_id": "owner/model", "revision": COMMIT, "files": files}


def test_a_pickled_model_is_fetched_verified_and_kept_as_safetensors(hub, model, entry, tmp_path):
    retrieve_model(entry, tmp_path / "model")
    names = sorted(path.name for path in (tmp_path / "model").iterdir())
    assert names == sorted(entry["files"].keys() - {"pytorch_model.bin"} | {"model.safetensors"})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    found = load_clip(tmp_path / "model")[0].state_dict()
    for name, tensor in model[0].state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_a_model_that_is_not_the_right_one_never_appears(hub, entry, tmp_path):
    entry["files"]["pytorch_model.bin"]["sha256"] = "0" * 64
    with pytest.raises(RetrieveError, match="expected 0000"):
        retrieve_model(entry, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_hub_lacks_is_named(hub, entry, tmp_path):
    entry["files"]["vocab.json"] = None
    with pytest.raises(RetrieveError, match=f"no vocab.json at revision {COMMIT}"):
        retrieve_model(entry, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_was_fetched_before_a_failure_is_not_fetched_again(hub, entry, tmp_path):
    hub.broken = "config.json"
    with pytest.raises(RetrieveError, match="Run again to go on"):
        retrieve_model(entry, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    weights = ("GET", f"/owner/model/resolve/{COMMIT}/pytorch_model.bin")
    assert weights in hub.asked
    hub.broken, hub.asked = None, []
    retrieve_model(entry, tmp_path / "model")
    assert (tmp_path / "model/model.safetensors").is_file()
    assert weights not in hub.asked


def test_a_pickle_that_would_run_code_is_refused(hub, entry, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    torch.save({"weight": Evil()}, tmp_path / "evil.bin")
    hub.files["pytorch_model.bin"] = (tmp_path / "evil.bin").read_bytes()
    entry["files"]["pytorch_model.bin"] = None
    with pytest.raises(RetrieveError, match="its pickle holds more than tensors"):
        retrieve_model(entry, tmp_path / "model")
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda state: state.pop("logit_scale"), "missing: logit_scale"),
        (lambda state: state["logit_scale"].fill_(float("nan")), "not finite: logit_scale"),
        (lambda state: state.update(more=torch.zeros(1)), "unexpected: more"),
    ],
)
def test_a_model_that_is_not_whole_never_appears(hub, entry, tmp_path, change, fault):
    state = torch.load(io.BytesIO(hub.files["pytorch_model.bin"]), weights_only=True)
    change(state)
    torch.save(state, tmp_path / "changed.bin")
    hub.files["pytorch_model.bin"] = (tmp_path / "changed.bin").read_bytes()
    entry["files"]["pytorch_model.bin"] = None
    with pytest.raises(RetrieveError, match=f"owner/model .* cannot be used: .*{fault}"):
        retrieve_model(entry, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["changed.bin"]


def test_a_model_without_its_tokenizer_never_appears(hub, entry, tmp_path):
    del entry["files"]["tokenizer.json"]
    with pytest.raises(RetrieveError, match=r"no complete CLIP, tokenizer\.json or .* missing"):
        retrieve_model(entry, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_what_the_hub_does_not_have_says_where_to_put_the_model(hub, entry, tmp_path):
    entry |= {"gigabytes": 1.71, "hub_id": "owner/other"}
    with pytest.raises(RetrieveError, match=r"about 1\.71 GB.*put it at .*model"):
        retrieve_model(entry, tmp_path / "model")


def test_a_semantic_network_appears_only_if_it_has_its_vocabulary(hub, tmp_path):
    made = semantic_folder(tmp_path / "made", "segformer")
    hub.files = {path.name: path.read_bytes() for path in made.iterdir()}
    entry = {"hub_id": "owner/model", "revision": COMMIT, "files": dict.fromkeys(hub.files)}
    with pytest.raises(RetrieveError, match="cannot be used: .*label 0 of the network is 'road'"):
        retrieve_model(entry, tmp_path / "m", partial(load_semantic, vocabulary_name="imagenet"))
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    retrieve_model(entry, tmp_path / "m", partial(load_semantic, vocabulary_name="cityscapes"))
    assert load_semantic(tmp_path / "m", "cityscapes").vocabulary == "cityscapes"
