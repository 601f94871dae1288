"""An RO-Crate of a finished run: from each cell of Table 1 back to predictions, model and images.

It follows RO-Crate 1.1 and the profile Workflow Run Crate 0.5. Each stage is an action whose
objects and results are the files that it read and wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoloc.config import files_of
from geoloc.corpus.download import load_weights
from geoloc.errors import FileError
from geoloc.evaluation.table1 import KEYS, read_table1
from geoloc.files import atomic_path, file_hash, write_text
from geoloc.matrix import (
    Row,
    columns,
    dataset_settings,
    dataset_titles,
    is_trained,
    model_titles,
    street_test_sets,
    used_crops,
    used_scores,
)
from geoloc.report.finished_run import FinishedRun
from geoloc.report.licenses import UNKNOWN, license_of_weights

if TYPE_CHECKING:
    from rocrate.model import Entity
    from rocrate.rocrate import ROCrate

METADATA = "ro-crate-metadata.json"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
BIOSCHEMAS = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
"""Terms that the context of RO-Crate 1.1 does not have."""
FORMATS = {
    ".csv": "text/csv", ".h5": "application/x-hdf5", ".html": "text/html",
    ".json": "application/json", ".keras": "application/zip",
    ".parquet": "application/vnd.apache.parquet", ".safetensors": "application/octet-stream",
    ".smk": "text/x-python", ".txt": "text/plain", ".yaml": "application/yaml",
}  # fmt: skip
WORKFLOW = "workflow"  # folder of the crate for the definition of the workflow
DEFINITION = ("Snakefile", "rules/*.smk", "config/config.schema.yaml", "LICENSE")
NO_LICENSE = (
    "No license is stated for these results. Images and weights that they were made with have "
    "their own."
)
KAGGLE = "https://www.kaggle.com/datasets/"
TEXTS = {
    "table1.csv": "Table 1: accuracy in percent",
    "run.json": "What the run was made with: code, machine, versions, digests, time and memory",
    "config.yaml": "Configuration of the run",
    "report.html": "Report of the run",
    "verdict.txt": "Summary of the answers",
    "index/images.parquet": "All images with source, path, country, split and shard",
    "index/countries.csv": "Countries with the number of their images",
}


def describe_run(
    run: FinishedRun, largest: int | None = None, license: str = NO_LICENSE, author: str = ""
) -> ROCrate:
    """Describe a finished run.

    Args:
        run: the run.
        largest: size in bytes up to which files are part of the crate. Larger ones, and the stores
            of images and score maps, are only described. None: the crate is the run's folder, and
            everything is part of it.
        license: license of the results, an address or a text.
        author: who made the run.

    Returns:
        The crate; its files have not been written.
    """
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")
    crate.metadata.extra_terms |= TERMS
    return _Description(run, crate, largest).describe(license, author)


def write_beside(crate: ROCrate, folder: Path) -> Path:
    """Make the folder of a run a crate: write the metadata and the definition of the workflow."""
    for entity in crate.data_entities:
        if entity.id.startswith(f"{WORKFLOW}/"):
            (folder / entity.id).parent.mkdir(parents=True, exist_ok=True)
            entity.write(folder)
    metadata = crate.metadata.generate()
    write_text(folder / METADATA, json.dumps(metadata, indent=1, ensure_ascii=False) + "\n")
    return folder / METADATA


def write_zip(crate: ROCrate, path: Path) -> None:
    """Write the metadata and the files that are part of the crate, whole or not at all."""
    with atomic_path(path) as temporary:
        crate.write_zip(temporary)


@dataclass
class _Description:
    run: FinishedRun
    crate: ROCrate
    largest: int | None
    software: Entity = field(init=False)

    def describe(self, license: str, author: str) -> ROCrate:
        self._root(license, author)
        workflow = self._workflow()
        sources = [self._source(name, digest) for name, digest in self._sources()]
        weights = {path: self._weights(path) for path in self.run.record["weights"]}
        index = [self._file(name) for name in ("index/images.parquet", "index/countries.csv")]
        self._action("index", "Find each image's country, split and shard", sources, index)
        images = self._images(sources, index)
        scores = {name: self._scores(name, images, weights) for name in self._scores_used()}
        predictions = {
            row: self._predict(
                row, self._model(row, images, scores, weights), index, images, scores
            )
            for row in self.run.rows
        }
        table = self._file("table1.csv")
        self._action("table1", "Make Table 1", list(predictions.values()), [table])
        table["mentions"] = self._cells(predictions)
        self._run_action(workflow, sources, list(weights.values()), table)
        return self.crate

    def _add(self, address: str, kind: str, /, **properties: Any) -> Entity:
        """Add an entity that is no file or folder of the crate."""
        from rocrate.model.contextentity import ContextEntity

        properties = {"@type": kind, **properties}
        return self.crate.add(ContextEntity(self.crate, address, properties=properties))

    def _root(self, license: str, author: str) -> None:
        record, root = self.run.record, self.crate.root_dataset
        verdict = self.run.folder / "verdict.txt"
        told = verdict.read_text(encoding="utf-8").strip() if verdict.exists() else ""
        root["name"] = f"Beyond the Image: the run {record['run']}"
        root["description"] = told or "Table 1 of the workflow Beyond the Image"
        root["datePublished"] = record["made"]
        address = license if "://" in license else "#license"
        root["license"] = self._add(address, "CreativeWork", name=license)
        root["conformsTo"] = [
            self._add(address, "CreativeWork", name=name, version=address.rpartition("/")[2])
            for address, name in PROFILES.items()
        ]
        if author:
            root["author"] = self._add("#author", "Person", name=author)
        software = record["software"]
        commit = f", commit {software['commit']}" if software["commit"] else ""
        changed = " with changed files" if software["clean"] is False else ""
        version = f"{software['version']}{commit}{changed}"
        self.software = self._add(
            "#geoloc", "SoftwareApplication", name=software["name"], softwareVersion=version
        )

    def _workflow(self) -> Entity:
        """Snakefile and rules, from the checkout, whose commit need not be that of the run."""
        software = self.run.record["software"]
        path, name = self.run.project / "Snakefile", f"{WORKFLOW}/Snakefile"
        properties = _properties(path, name) | {
            "name": "Beyond the Image, as a workflow",
            "version": software["commit"] or software["version"],
            "encodingFormat": "text/x-python",
            "conformsTo": {"@id": BIOSCHEMAS},
        }
        workflow = self.crate.add_workflow(
            path, name, properties=properties, main=True, lang="snakemake"
        )
        for pattern in DEFINITION[1:]:
            for path in sorted(self.run.project.glob(pattern)):
                name = f"{WORKFLOW}/{path.relative_to(self.run.project).as_posix()}"
                self.crate.add_file(path, name, properties=_properties(path, name))
        return workflow

    def _file(self, name: str) -> Entity:
        """A file of the run, once: part of the crate, or only described if it is too large."""
        path = self.run.folder / name
        too_large = self.largest is not None and path.stat().st_size > self.largest
        identifier = f"#{name}" if too_large else name
        if found := self.crate.dereference(identifier):
            return found
        properties = _properties(path, name)
        if too_large:
            return self._add(identifier, "File", **properties)
        return self.crate.add_file(path, name, properties=properties)

    def _folder(self, name: str, text: str) -> Entity:
        """A folder of stores, with the number and size of its files but not their content."""
        folder = self.run.folder / name
        files = [path for path in folder.rglob("*.h5") if not path.name.startswith(".")]
        properties = {
            "name": name,
            "description": f"{text}: {len(files):,} stores",
            "contentSize": str(sum(path.stat().st_size for path in files)),
        }
        if self.largest is None:
            return self.crate.add_dataset(folder, f"{name}/", properties=properties)
        return self._add(f"#{name}/", "Dataset", **properties)

    def _action(
        self, key: str, name: str, objects: Sequence[Entity], results: Sequence[Entity]
    ) -> Entity:
        """An action of a stage; its end is the time of the last file that it wrote."""
        times = [path.stat().st_mtime for path in map(self._path, results) if path.exists()]
        made = datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds")
        action = self.crate.add_action(
            self.software,
            f"#action/{key}",
            _unique(objects),
            _unique(results),
            {"name": name, "description": f"Jobs of the stage {key}", "endTime": made},
        )
        self._mention(action)
        return action

    def _mention(self, action: Entity) -> None:
        root = self.crate.root_dataset
        if author := root.get("author"):
            action["agent"] = author
        root.append_to("mentions", action)

    def _path(self, entity: Entity) -> Path:
        return self.run.folder / str(entity["name"])

    def _sources(self) -> Iterable[tuple[str, str]]:
        config = self.run.config
        for name, entry in {**config["sources"], **config["test_sets"]}.items():
            if entry:
                yield name, self.run.record["sources"].get(name, "")

    def _source(self, name: str, digest: str) -> Entity:
        """Raw images, by the digest of their listing."""
        config = self.run.config
        entry = config["sources"].get(name) or config["test_sets"][name]
        retrieve = entry.get("retrieve") or {}
        address = retrieve.get("page") or (
            KAGGLE + retrieve["kaggle"] if retrieve.get("kaggle") else None
        )
        listing = self._add(
            f"#sources/{name}/listing",
            "PropertyValue",
            name="digest of the listing",
            value=digest,
            description="first 16 hexadecimal digits of the SHA-256 of the names of all images and "
            "of the table of coordinates",
        )
        properties = {
            "name": entry.get("title") or name,
            "identifier": listing,
            "description": "Generated images of the demo" if config["demo"] else "Raw images",
        }
        properties |= {"url": address} if address else {}
        return self._add(f"#sources/{name}", "Dataset", **properties)

    def _weights(self, path: str) -> Entity:
        """Weights that a job of the run loaded: a file, or a folder with its files."""
        digests = self.run.record["weights"][path]
        known = load_weights(self.run.project / "config/weights.yaml")
        found = license_of_weights(path, known)
        properties: dict[str, Any] = {"name": Path(path).name, "description": found.what}
        properties |= {"url": found.address} if found.address else {}
        properties |= {"license": found.license} if found.license != UNKNOWN else {}
        if isinstance(digests, str):
            properties["sha256"] = digests
        elif digests is None:
            properties["description"] += ", which did not exist when the run was recorded"
        else:
            properties["hasPart"] = [
                self._add(f"#weights/{path}/{name}", "File", name=name, sha256=digest)
                for name, digest in digests.items()
            ]
        kind = "Dataset" if isinstance(digests, Mapping) else "File"
        return self._add(f"#weights/{path}", kind, **properties)

    def _images(self, sources: list[Entity], index: list[Entity]) -> list[Entity]:
        stores = {"images": "Prepared images", "arrays/images": "Images at 224×224 pixels"}
        found = [
            self._folder(name, text)
            for name, text in stores.items()
            if (self.run.folder / name).is_dir()
        ]
        if found:
            self._action("prepare", "Crop and resize images", [*sources, *index], found)
        return found

    def _scores_used(self) -> list[str]:
        shown = [street_test_sets(self.run.config, row.dataset) for row in self.run.rows]
        return self._scores_of(settings for views in shown for settings in views.values())

    @staticmethod
    def _scores_of(views: Iterable[Mapping[str, Any]]) -> list[str]:
        """Names of the score maps that images shown like this are made with."""
        views = list(views)
        return list(dict.fromkeys(used_scores(*views) + used_crops(*views)))

    def _scores(
        self, name: str, images: list[Entity], weights: Mapping[str, Entity]
    ) -> list[Entity]:
        """Regions and score maps; the action has the weights of the segmentation."""
        segmentation = self.run.config["scores"][name]["segmentation"]
        entry = self.run.config["segmentations"][segmentation]
        stores = {
            f"segments/{segmentation}": "Regions of street images with their classes",
            f"scores/{name}": "Score maps of street images",
            f"arrays/scores/{name}": "Score maps at 224×224 pixels",
            f"arrays/crops/{name}": "Crops of the best-scoring region at 224×224 pixels",
        }
        found = [self.crate.dereference(f"{path}/") or self.crate.dereference(f"#{path}/")
                 or self._folder(path, text) for path, text in stores.items()
                 if (self.run.folder / path).is_dir()]  # fmt: skip
        used = [weights[path] for path in files_of(entry) if path in weights]
        if found:
            self._action(f"score/{name}", "Find regions and score them", [*images, *used], found)
        return found

    def _model(
        self,
        row: Row,
        images: list[Entity],
        scores: Mapping[str, list[Entity]],
        weights: Mapping[str, Entity],
    ) -> list[Entity]:
        """What a row's predictions were made with: the files of its model, or published weights."""
        entry = self.run.config["models"][row.model]
        given = [weights[path] for path in files_of(entry) if path in weights]
        if not is_trained(entry):
            return given
        used = self._scores_of([dataset_settings(self.run.config, row.dataset)])
        shown = [*images, *(entity for name in used for entity in scores[name])]
        files = [self._file(name) for name in self.run.model_files(row)]
        title = self._title(row)
        self._action(f"train/{row.path}", f"Train {title}", [*shown, *given], files)
        return files

    def _predict(
        self, row: Row, model: list[Entity], index: list[Entity], images: list[Entity],
        scores: Mapping[str, list[Entity]],
    ) -> Entity:  # fmt: skip
        """Predictions of a row, of all test sets, and their action."""
        found = self._file(f"predictions/{row.path}.parquet")
        used = self._scores_of(street_test_sets(self.run.config, row.dataset).values())
        objects = [*model, *index, *images, *(entity for name in used for entity in scores[name])]
        self._action(f"predict/{row.path}", f"Predict with {self._title(row)}", objects, [found])
        return found

    def _title(self, row: Row) -> str:
        titles = model_titles(self.run.config), dataset_titles(self.run.config)
        return f"{titles[0][row.model]}, {titles[1][row.dataset]}, seed {row.seed}"

    def _cells(self, predictions: Mapping[Row, Entity]) -> list[Entity]:
        """Each cell of Table 1, based on the predictions of its row; with several seeds, of all.

        An address is that of RFC 7111: rows and columns count from 1, the header included.
        """
        path = self.run.folder / "table1.csv"
        table, config = read_table1(path), self.run.config
        models, datasets = model_titles(config), dataset_titles(config)
        of_rows: dict[tuple[str, str], list[Entity]] = {}
        for row, entity in predictions.items():
            of_rows.setdefault((models[row.model], datasets[row.dataset]), []).append(entity)
        if set(of_rows) != set(table[KEYS].itertuples(index=False, name=None)) or set(
            columns(config).values()
        ) != set(table.columns[len(KEYS) :]):
            raise FileError(
                f"{path} has other rows or columns than the configuration of the run; "
                "delete it and run snakemake again"
            )
        return [
            self._add(
                f"table1.csv#cell={2 + number},{1 + table.columns.get_loc(title)}",
                "PropertyValue",
                name=f"{line['Model']}, {line['Trained On']}: {title}",
                value=line[title],
                unitText="percent",
                isBasedOn=_unique(of_rows[line["Model"], line["Trained On"]]),
            )
            for number, line in enumerate(table.to_dict("records"))
            for title in table.columns[len(KEYS) :]
            if line[title]
        ]

    def _run_action(
        self, workflow: Entity, sources: list[Entity], weights: list[Entity], table: Entity
    ) -> None:
        record = self.run.record
        names = dict.fromkeys([*record["tables"], "run.json", "report.html"])
        results = [table, *(self._file(name) for name in names)]
        settings = self._file("config.yaml")
        self._parameter(workflow, "input", "configuration", settings)
        for source in sources:
            self._parameter(workflow, "input", source.id.removeprefix("#"), source)
        self._parameter(workflow, "output", "table1", table)
        machine = record["machine"]
        properties = {
            "name": f"Run {record['run']}",
            "endTime": record["made"],
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "description": f"Recorded on {machine['host']}, {machine['system']}, "
            f"{machine['cores']} cores, Python {machine['python']}",
        }
        objects = [settings, *sources, *weights]
        action = self.crate.add_action(
            workflow, "#run", _unique(objects), _unique(results), properties
        )
        self._mention(action)

    def _parameter(self, workflow: Entity, side: str, name: str, example: Entity) -> None:
        """An input or output of the workflow, and what it was in this run."""
        parameter = self.crate.add_formal_parameter(
            name, example.type, f"#{side}/{name}", valueRequired=side == "input"
        )
        parameter["workExample"] = example
        example["exampleOfWork"] = parameter
        workflow.append_to(side, parameter, compact=True)


def _properties(path: Path, name: str) -> dict[str, Any]:
    found = {
        "name": name,
        "sha256": file_hash(path),
        "contentSize": str(path.stat().st_size),
        "encodingFormat": FORMATS.get(path.suffix, "application/octet-stream"),
    }
    return found | ({"description": TEXTS[name]} if name in TEXTS else {})


def _unique(entities: Iterable[Entity]) -> list[Entity] | Entity:
    """Each entity once; a single one is no list, as JSON-LD recommends."""
    found = list({entity.id: entity for entity in entities}.values())
    return found[0] if len(found) == 1 else found
