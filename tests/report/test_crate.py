"""The RO-Crate of a run: valid by its profile, and from each cell of Table 1 to the images."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import rocrate
from requests import Request
from requests_cache import CachedRequest, CachedResponse, CachedSession
from rocrate_validator.services import ValidationSettings, validate

from geoloc.cli import crate as command
from geoloc.cli.main import main
from geoloc.config import write_config
from geoloc.files import file_hash
from geoloc.matrix import rows
from geoloc.report.crate import METADATA
from geoloc.report.run_record import write_record
from tests.report.small_results import (
    configuration,
    drawn,
    image_table,
    write_results,
)

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
BIOSCHEMAS = "https://bioschemas.org/"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run with all files that a crate describes; its CLIP is published, its others trained."""
    folder = tmp_path_factory.mktemp("run") / "small"
    config = configuration(seeds=[1, 2])
    run = write_results(folder, config)
    index = image_table()
    for row in rows(config):
        path = folder / f"predictions/{row.path}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(index, config, row).to_parquet(path)
    for name in ("images/street/FR/0000", "arrays/images/street/FR/0000", "segments/sam/FR/0000",
                 "scores/objects/FR/0000", "arrays/scores/objects/FR/0000"):  # fmt: skip
        store = folder / f"{name}.h5"
        store.parent.mkdir(parents=True)
        store.write_bytes(b"store")
    (folder / "index/countries.csv").write_text("country\n")
    (folder / "report.html").write_text("page")
    write_config(folder / "config.yaml", config)
    weights = config["models"]["clip"]["path"]
    run.record["weights"][weights] = {"model.safetensors": "ab" * 32}
    write_record(folder / "run.json", run.record)
    return folder


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "small"))


@pytest.fixture(scope="module")
def graph(finished, tmp_path_factory) -> dict[str, dict]:
    """Entities of the crate by their ids."""
    copy = shutil.copytree(finished, tmp_path_factory.mktemp("crate") / "small")
    assert main(["crate", str(copy)]) == 0
    return entities(json.loads((copy / METADATA).read_text()))


def entities(metadata: dict) -> dict[str, dict]:
    return {entity["@id"]: entity for entity in metadata["@graph"]}


def linked(graph: dict[str, dict], entity: dict, key: str) -> list[dict]:
    """The entities that a property of an entity names."""
    found = entity.get(key, [])
    return [graph[link["@id"]] for link in (found if isinstance(found, list) else [found])]


def made_by(graph: dict[str, dict], entity: dict) -> dict:
    """The action of the stage that an entity is a result of."""
    (action,) = (
        other
        for name, other in graph.items()
        if name.startswith("#action/") and entity in linked(graph, other, "result")
    )
    return action


def behind(graph: dict[str, dict], entity: dict) -> Iterator[dict]:
    """An entity, and everything that it was made from."""
    yield entity
    if any(
        entity in linked(graph, other, "result")
        for name, other in graph.items()
        if name.startswith("#action/")
    ):
        for used in linked(graph, made_by(graph, entity), "object"):
            yield from behind(graph, used)


def test_each_cell_of_table_1_leads_to_predictions_model_index_and_sources(finished, graph):
    table = pd.read_csv(finished / "table1.csv", dtype=str, keep_default_na=False)
    cells = linked(graph, graph["table1.csv"], "mentions")
    values = [value for line in table.iloc[:, 2:].itertuples(index=False) for value in line]
    assert [cell["value"] for cell in cells] == [value for value in values if value]
    for cell in cells:
        predictions = linked(graph, cell, "isBasedOn")
        names = [entity["@id"] for entity in predictions]
        trained = not cell["name"].startswith("StreetCLIP")
        assert len(names) == 1 + trained  # a file for each seed
        for name in names:
            assert graph[name]["sha256"] == file_hash(finished / name)
            used = {entity["@id"] for entity in behind(graph, graph[name])}
            row = name.removeprefix("predictions/").removesuffix(".parquet")
            model = (
                f"models/{row}/history.csv" if trained else "#weights/resources/weights/streetclip"
            )
            assert {model, "index/images.parquet", "images/", "#sources/geoguessr"} <= used
            others = {
                n for n in used if n.startswith("models/") and not n.startswith(f"models/{row}/")
            }
            assert not others
    listing = linked(graph, graph["#sources/geoguessr"], "identifier")
    assert [entity["value"] for entity in listing] == ["0f"]
    assert graph["#weights/resources/weights/streetclip"]["license"] == "CC-BY-NC-4.0"
    weights = linked(graph, graph["#weights/resources/weights/streetclip"], "hasPart")
    assert [entity["sha256"] for entity in weights] == ["ab" * 32]


def test_a_model_needs_score_maps_only_if_its_dataset_is_made_with_them(graph):
    for dataset, weighted in {"original": False, "weighted_base": True}.items():
        action = graph[f"#action/train/cnn/{dataset}/1"]
        assert (graph["scores/objects/"] in linked(graph, action, "object")) == weighted


def test_a_zip_file_has_small_files_and_describes_the_others(copied, tmp_path, capsys):
    before = sorted(path for path in copied.rglob("*"))
    path, large = tmp_path / "crate.zip", "models/cnn/original/1/model.keras"
    (copied / large).write_bytes(bytes(200_000))
    assert main(["crate", str(copied), "--zip", str(path), "--max-mb", "0.1"]) == 0
    assert "larger files that are only described: 1\n" in capsys.readouterr().out
    (copied / large).unlink()
    assert sorted(path for path in copied.rglob("*")) == before
    with zipfile.ZipFile(path) as file:
        names = set(file.namelist())
        found = entities(json.loads(file.read(METADATA)))
    assert {"table1.csv", "workflow/Snakefile", "predictions/cnn/original/1.parquet"} <= names
    assert not any(name.endswith((".h5", ".keras")) for name in names)
    assert found[f"#{large}"]["sha256"] == hashlib.sha256(bytes(200_000)).hexdigest()
    assert found["#images/"]["contentSize"] == "5"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda run: (run / "run.json").unlink(), "is not a finished run; run snakemake first"),
        (lambda run: (run / "predictions/cnn/original/2.parquet").unlink(),
         "predictions/cnn/original/2.parquet does not exist; run snakemake again"),
        (lambda run: shutil.rmtree(run / "models/cnn/original/2"),
         "models/cnn/original/2 does not exist; run snakemake again"),
        (lambda run: (run / "table1.csv").write_text("Model,Trained On\n"),
         "table1.csv is not the file that"),
    ],
    ids=["record", "predictions", "model", "table"],
)  # fmt: skip
def test_a_run_that_is_not_finished_or_has_changed_is_an_error(copied, damage, told, capsys):
    damage(copied)
    assert main(["crate", str(copied)]) == 2
    assert told in capsys.readouterr().err
    assert not (copied / METADATA).exists()


def test_the_user_is_told_that_the_checkout_is_not_the_commit_of_the_run(copied, capsys):
    assert main(["crate", str(copied)]) == 0
    assert (
        f"warning: the run was made with {'0' * 40} with changed files" in capsys.readouterr().err
    )


def test_without_the_package_the_command_says_what_to_install(copied, capsys, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["crate", str(copied)]) == 2
    assert "install rocrate==" in capsys.readouterr().err


# ------------------------------------------------------------------------------------ the profile


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """The validator's cache with the context of RO-Crate 1.1, so that it needs no network.

    The package has that of 1.3, which differs in these terms of those that a crate uses.
    """
    path = Path(rocrate.__file__).parent / "data/ro-crate.jsonld"
    context = json.loads(path.read_text(encoding="utf-8"))
    del context["@context"]["sha256"]
    context["@context"] |= {
        "ComputationalWorkflow": f"{BIOSCHEMAS}ComputationalWorkflow",
        "FormalParameter": f"{BIOSCHEMAS}FormalParameter",
        "input": f"{BIOSCHEMAS}ComputationalWorkflow#input",
        "output": f"{BIOSCHEMAS}ComputationalWorkflow#output",
    }
    found = tmp_path_factory.mktemp("cache") / "http"
    session = CachedSession(str(found), backend="sqlite", expire_after=-1)
    response = CachedResponse(
        status_code=200,
        url=CONTEXT,
        content=json.dumps(context).encode(),
        headers={"Content-Type": "application/ld+json"},
        request=CachedRequest(method="GET", url=CONTEXT),
    )
    session.cache.save_response(response, session.cache.create_key(Request("GET", CONTEXT)))
    session.close()
    return found


def mistakes(crate: Path, cache: Path) -> list[str]:
    """What the validator finds wrong with what Workflow Run Crate requires."""
    settings = ValidationSettings(
        rocrate_uri=str(crate),
        profile_identifier="workflow-run-crate",
        offline=True,
        requirement_severity="REQUIRED",
        cache_path=cache,
    )
    return [issue.message for issue in validate(settings).get_issues()]


def test_the_crate_of_a_folder_is_valid_and_not_without_its_workflow(copied, cache):
    assert main(["crate", str(copied), "--author", "A. Person"]) == 0
    assert mistakes(copied, cache) == []
    (copied / "workflow/Snakefile").unlink()
    assert any("workflow/Snakefile not found" in told for told in mistakes(copied, cache))


def test_the_crate_of_a_zip_file_is_valid(copied, tmp_path, cache):
    path = tmp_path / "crate.zip"
    address = "https://spdx.org/licenses/CC-BY-4.0"
    arguments = ["--zip", str(path), "--max-mb", "0.01", "--license", address]
    assert main(["crate", str(copied), *arguments]) == 0
    assert mistakes(path, cache) == []
