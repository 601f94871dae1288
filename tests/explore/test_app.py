"""What `geoloc explore` answers, and to whom."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from geoloc.errors import GeolocError, InUse, MissingFile
from geoloc.explore.app import PAGE_SIZE, make_app
from geoloc.explore.pictures import Pictures, street_order
from geoloc.explore.run import FinishedRun
from geoloc.explore.server import listen
from geoloc.stores.datasets import _other_images
from geoloc.weighting import make_view
from tests.explore.small_run import SIGN, draw

testclient = pytest.importorskip("starlette.testclient", reason="starlette is not installed")
ROW = "cnn/original/42"


@pytest.fixture(scope="module")
def client(small_run):
    app = make_app(FinishedRun(small_run[0]))
    return testclient.TestClient(app, base_url="http://127.0.0.1")


def listed(client, **query) -> dict:
    response = client.get("/api/images", params=query)
    assert response.status_code == 200, response.text
    return response.json()


def ids(client, **query) -> list[str]:
    """Ids of the images of all pages."""
    first = listed(client, **query)
    pages = [first, *(listed(client, page=page, **query) for page in range(1, first["pages"]))]
    return [
        client.get(f"/api/images/{image['n']}").json()["id"]
        for page in pages
        for image in page["images"]
    ]


def test_pages_show_every_test_image_once_and_none_in_quarantine(client, small_run):
    index = small_run[1]
    expected = index[(index.split == "test") & (index.collection == "street")].image_id
    assert len(expected) > PAGE_SIZE
    assert ids(client) == expected.tolist()


@pytest.mark.parametrize(
    ("query", "choose"),
    [
        ({"country": "NA"}, lambda t: (t.split == "test") & (t.country == "NA")),
        ({"group": "street/train"}, lambda t: t.split == "train"),
        (
            {"group": "im2gps3k/test", "country": "FR"},
            lambda t: (t.collection == "im2gps3k") & (t.country == "FR"),
        ),
    ],
    ids=["Namibia", "training", "photos"],
)
def test_filters_choose_images(client, small_run, query, choose):
    index = small_run[1]
    chosen = choose(index)
    if "group" not in query:
        chosen &= index.collection == "street"
    assert ids(client, **query) == index[chosen].image_id.tolist()


@pytest.mark.parametrize("group", ["street/test", "im2gps3k/test"])
def test_right_and_wrong_answers_are_told_apart(client, group):
    query = {"group": group, "row": ROW}
    every = ids(client, **query)
    assert ids(client, answer="right", **query) == every[::2]
    assert ids(client, answer="wrong", **query) == every[1::2]
    right, wrong = listed(client, **query)["images"][:2]
    assert (right["right"], right["answer"]) == (True, right["country_name"])
    assert not wrong["right"]
    assert wrong["answer"] != wrong["country_name"]
    assert right["probability"] == pytest.approx(0.7)


def test_images_without_predictions_have_no_answers(client):
    found = listed(client, group="street/train", row=ROW)
    assert not found["tested"]
    assert "right" not in found["images"][0]


def test_images_are_found_by_their_objects(client, small_run):
    run = FinishedRun(small_run[0])
    key = f"objects/{SIGN}"
    assert run.objects[key].selected
    assert listed(client, object=key)["total"] == listed(client)["total"]
    # Photos are not segmented.
    assert listed(client, object=key, group="im2gps3k/test")["total"] == 0


def test_a_run_whose_objects_are_not_described_has_no_filter_of_them(small_run, tmp_path):
    copied = tmp_path / "results/small"
    shutil.copytree(small_run[0], copied, ignore=shutil.ignore_patterns("found"))
    client = testclient.TestClient(make_app(FinishedRun(copied)), base_url="http://127.0.0.1")
    assert client.get("/api/run").json()["objects"] == []
    found = client.get("/api/images/1/segments", params={"scores": "objects"}).json()
    assert found["segments"][0]["name"] in {f"class {SIGN}", "class 975"}


def test_an_image_tells_its_answers_distance_and_nearest_training_image(client, small_run):
    index = small_run[1]
    n = int(np.flatnonzero(index.collection == "im2gps3k")[0])
    found = client.get(f"/api/images/{n}", params={"row": ROW}).json()
    assert found["id"] == index.iloc[n].image_id
    (answer,) = found["answers"]
    assert [best["country"] for best in answer["best"]] == ["FR", "NA"]
    assert answer["right"]
    assert answer["distance_to"] == "country"
    assert 0 < answer["kilometers"] < 1
    near = found["nearest"]
    assert (near["bits"], near["meters"]) == (7, 1234)
    assert client.get(f"/api/images/{near['n']}").json()["id"] == near["id"]


def test_a_training_image_has_no_nearest_one(client, small_run):
    index = small_run[1]
    n = int(np.flatnonzero(index.split == "train")[0])
    assert client.get(f"/api/images/{n}").json()["nearest"] is None


def test_segments_have_outlines_names_and_scores(client):
    found = client.get("/api/images/1/segments", params={"scores": "objects"}).json()
    sign, sky = found["segments"]
    assert (sign["name"], sign["score"], sign["probability"]) == (
        "street sign",
        80,
        pytest.approx(0.8),
    )
    assert sky["score"] == 0
    corners = {tuple(map(int, point.split())) for point in sign["path"][1:-1].split("L")}
    assert corners == {(100, 200), (299, 200), (299, 399), (100, 399)}
    assert 100 < sign["x"] < 300
    assert 200 < sign["y"] < 400
    assert sky["area"] == pytest.approx(96_000 / 640**2)


def pixels(client, path: str, **query) -> np.ndarray:
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB")).astype(int)


def test_datasets_show_their_views(client):
    original = pixels(client, "/pictures/1")
    weighted = pixels(client, "/pictures/1", dataset="weighted_base")
    assert original.shape == (640, 640, 3)
    assert weighted[500, 500].max() <= 4
    assert weighted[300, 200] == pytest.approx(0.8 * original[300, 200], abs=6)
    assert max(pixels(client, "/pictures/1", size="small").shape) == 224
    assert np.ptp(pixels(client, "/scores/1", scores="objects"), axis=(0, 1)).max() > 50


def test_maps_of_an_answer_are_shown_if_they_passed_their_checks_or_told_which_they_failed(
    client, small_run
):
    n = int(np.flatnonzero(small_run[1].split == "test")[0])
    found = client.get(f"/api/images/{n}", params={"row": ROW}).json()["explained"]
    failed = {each["title"]: each["failed"] for each in found}
    assert failed["Grad-CAM"] == ""
    assert "does not add up" in failed["Integrated gradients"]
    assert "hardly depends" in failed["Attention relevance"]
    shown = pixels(client, f"/relevance/{n}", row=ROW, method="grad_cam")
    assert shown.shape == (224, 224, 3)
    # Inferno goes from black to yellow.
    assert shown[50, 50].tolist() > shown[200, 200].tolist()
    assert shown[50, 50, 0] > shown[50, 50, 2] + 30
    for query in (
        {"row": ROW, "method": "integrated_gradients"},
        {"row": "cnn/weighted_base/42", "method": "grad_cam"},
        {"method": "grad_cam"},
        {"row": ROW},
    ):
        assert client.get(f"/relevance/{n}", params=query).status_code == 404
    assert client.get(f"/api/images/{n + 1}", params={"row": ROW}).json()["explained"] == []
    assert ids(client, row=ROW, answer="explained") == [small_run[1].image_id.iloc[n]]
    assert ids(client, row="cnn/weighted_base/42", answer="explained") == []


def test_the_other_image_is_that_of_the_models(small_run):
    run = FinishedRun(small_run[0])
    stores = sorted((small_run[0] / "images/street").rglob("*.h5"))
    expected = _other_images(stores, run.config["seed"])
    pictures = Pictures(run)
    for n in street_order(run.images, "test"):
        assert run.images.id_of(pictures._other(int(n))) == expected[run.images.id_of(int(n))]


def test_the_file_of_a_curve_is_not_run(client):
    datasets = [each["key"] for each in client.get("/api/run").json()["datasets"]]
    assert "other" in datasets
    assert "own" not in datasets
    assert client.get("/pictures/1", params={"dataset": "own"}).status_code == 400


HOSTILE = [
    "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "/%00",
    "/pictures/..%2f..%2fetc%2fpasswd", "/pictures/1%00", "/pictures/-1", "/pictures/1e3",
    "/pictures/999999999999999999999999", "/api/images/999999", "/explore.js/../app.py",
    "/api/images?page=-1", "/api/images?page=99999999", "/api/images?page=9999999999999999999",
    "/api/images?page=%00", "/api/images?page=1.5", "/api/images?page=%D9%A1",
    "/api/images?country=../..", "/api/images?row=../../../etc/passwd", "/api/images?row=cnn%00",
    "/api/images?dataset=../original", "/api/images?object=objects/../../x",
    "/api/images?group=street", "/api/images?answer=maybe", "/api/images?unknown=1",
    "/api/images/1?row=x", "/pictures/1?dataset=%2e%2e", "/pictures/1?size=huge",
    "/scores/1?scores=../objects", "/scores/1", "/api/images/1/segments?scores=..",
    "/scores/99999999?scores=objects", "/relevance/0?row=../x&method=grad_cam",
    "/relevance/0?row=cnn/original/42&method=../../x", "/relevance/9999999?method=x",
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_requests_are_refused(client, path):
    response = client.get(path)
    assert 400 <= response.status_code < 500
    assert "root:" not in response.text
    assert response.headers["content-type"].startswith(("application/json", "text/plain"))


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "0.0.0.0", "", "[::1]"])
def test_requests_under_another_name_are_refused(client, host):
    for path in ("/", "/api/run", "/pictures/1"):
        assert client.get(path, headers={"Host": host}).status_code == 400


def test_no_other_site_may_read_a_response(client):
    for path in ("/", "/api/run", "/pictures/1", "/nothing"):
        headers = client.get(path, headers={"Origin": "http://evil.example"}).headers
        assert not [name for name in headers if name.startswith("access-control")]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_only_get_is_answered(client, method):
    assert client.request(method, "/api/run").status_code == 405


def test_a_missing_store_is_told_in_one_line(small_run, tmp_path):
    copied = tmp_path / "results/small"
    shutil.copytree(small_run[0], copied, ignore=shutil.ignore_patterns("images"))
    (copied / "index").mkdir(exist_ok=True)
    shutil.copy(small_run[0] / "index/images.parquet", copied / "index/images.parquet")
    client = testclient.TestClient(make_app(FinishedRun(copied)), base_url="http://127.0.0.1")
    response = client.get("/pictures/1")
    assert response.status_code == 500
    assert "0000.h5" in response.json()["error"]


def test_what_is_no_finished_run_is_refused(tmp_path):
    with pytest.raises(MissingFile, match="is not a finished run"):
        FinishedRun(tmp_path)


def test_only_this_machine_can_connect_and_a_used_port_is_told():
    with listen(0) as opened:
        address, port = opened.getsockname()
        assert address == "127.0.0.1"
        with pytest.raises(InUse, match=f"port {port} can't be used .*--port"):
            listen(port)
    assert issubclass(InUse, GeolocError)


def test_a_view_of_the_page_is_that_of_the_models(client, small_run):
    run = FinishedRun(small_run[0])
    image = np.asarray(Image.open(io.BytesIO(draw(40))))
    score = np.zeros((640, 640), np.uint8)
    score[200:400, 100:300] = 80
    expected = make_view(run.settings["weighted_custom"])(image, score).astype(int)
    shown = pixels(client, "/pictures/0", dataset="weighted_custom")
    assert np.abs(shown[::40, ::40] - expected[::40, ::40]).mean() < 2
