"""What a run has to cite follows from its configuration."""

from __future__ import annotations

import pytest
import yaml

from geoloc.cli.main import main
from geoloc.config import write_config
from geoloc.corpus.download import load_weights
from geoloc.report.citations import (
    OF_CHECKED_MAPS,
    OF_EXPLANATIONS,
    OF_NAMES,
    _keys,
    all_references,
    references,
)
from geoloc.report.licenses import licenses
from tests.conftest import ROOT
from tests.report.small_results import configuration


def test_the_study_cites_its_data_segmenter_networks_and_geocoder():
    keys = [reference.key for reference in references(configuration())]
    assert keys == [
        "beyond_the_image_workflow", "singh_beyond_the_image", "geoguessr_images",
        "streetview_images", "vo_revisiting_2017", "hays_im2gps_2008",
        "muller_budack_geolocation_2018", "thampi_reverse_geocoder", "geonames",
        "kirillov_segment_2023", "he_deep_2016", "radford_learning_2021", "haas_streetclip_2023",
        *OF_EXPLANATIONS["keras_models"], *OF_EXPLANATIONS["image_text"], *OF_CHECKED_MAPS,
    ]  # fmt: skip


def test_drawn_images_and_models_that_are_not_used_are_not_cited():
    config = configuration()
    config["demo"], config["models"] = {"countries": 7}, {"cnn": config["models"]["cnn"]}
    keys = {reference.key for reference in references(config)}
    assert keys >= {*OF_EXPLANATIONS["keras_models"], *OF_CHECKED_MAPS}
    assert not keys & {*OF_EXPLANATIONS["image_text"]}
    config["explain"]["images"] = 0
    keys = {reference.key for reference in references(config)}
    assert not keys & {*OF_EXPLANATIONS["keras_models"], *OF_CHECKED_MAPS}
    assert not keys & {"geoguessr_images", "vo_revisiting_2017", "haas_streetclip_2023"}


def test_every_key_is_known_and_software_and_study_are_those_of_the_citation_file():
    known = all_references()
    assert set(OF_NAMES.values()) | set(_keys(configuration())) <= set(known)
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    software = known["beyond_the_image_workflow"].fields
    assert (software["title"], software["version"]) == (cff["title"], cff["version"])
    assert known["singh_beyond_the_image"].fields["title"] == cff["references"][0]["title"]


def test_street_scene_classes_and_further_test_sets_are_cited():
    config = configuration()
    config["segmentations"] = {"street": {"kind": "semantic", "vocabulary": "mapillary_vistas",
                                          "path": "weights/mask2former-swin-large"}}  # fmt: skip
    config["test_sets"]["yfcc25600"] = config["test_sets"]["im2gps3k"]
    keys = {reference.key for reference in references(config)}
    assert keys >= {
        "neuhold_mapillary_2017",
        "cheng_mask2former_2022",
        "theiner_interpretable_2022",
    }
    assert not keys & {"cordts_cityscapes_2016", "kirillov_segment_2023"}


def test_names_of_several_words_stay_whole_in_bibtex_and_have_no_braces_in_text():
    entry = all_references()["vivanco_cepeda_geoclip_2023"]
    assert "author = {Vicente {Vivanco Cepeda} and" in entry.bibtex()
    assert entry.text().startswith("Vicente Vivanco Cepeda, Gaurav Kumar Nayak, Mubarak Shah: Geo")


def test_every_publication_has_an_address():
    known = all_references().values()
    papers = [reference for reference in known if reference.fields["type"] == "inproceedings"]
    assert len(papers) > 20
    assert not [paper.key for paper in papers if "url" not in paper.fields]


def test_licenses_are_those_of_the_run_s_data_and_weights():
    known = load_weights(ROOT / "config/weights.yaml")
    config = configuration()
    config["sources"]["mine"] = config["sources"]["geoguessr"] | {"retrieve": None}
    clip, mine = "resources/weights/streetclip", "/data/mine.pth"
    found = {entry.what: entry for entry in licenses(config, [clip, mine, clip], known)}
    assert list(found) == [
        "Images of geoguessr", "Images of streetview", "Images of mine",
        "Images of Im2GPS-3k-modified", "Weights of StreetCLIP", "Weights of mine.pth",
    ]  # fmt: skip
    assert found["Weights of StreetCLIP"].license == "CC-BY-NC-4.0"
    assert found["Weights of StreetCLIP"].address == "https://huggingface.co/geolocal/StreetCLIP"
    assert "Flickr" in found["Images of Im2GPS-3k-modified"].license
    assert "arxiv" not in found["Images of Im2GPS-3k-modified"].address
    unknown = [found[name].license for name in ("Images of mine", "Weights of mine.pth")]
    assert unknown == ["not known to this project"] * 2


def test_licenses_of_the_demo_are_those_of_its_models():
    config = configuration() | {"demo": {"countries": 7}}
    loaded = ["demo/sam.safetensors", "resources/weights/efficientnet_lite0.safetensors"]
    found = {entry.what: entry.license for entry in licenses(config, loaded, {})}
    assert found == {"SAM of the demo": "MIT, as this project", "EfficientNet-Lite0": "Apache-2.0"}


def test_every_known_weight_has_a_license_and_an_address():
    known = load_weights(ROOT / "config/weights.yaml")
    for entry in licenses(configuration(), known, known):
        assert entry.license != "not known to this project", entry
        assert entry.address, entry


def test_bibtex_escapes_what_means_something_to_latex():
    entry = all_references()["he_deep_2016"]
    entry = type(entry)("key", {"type": "misc", "for": "x", "author": "A & B", "title": "100 %"})
    assert entry.bibtex() == "@misc{key,\n  author = {A \\& B},\n  title = {{100 \\%}}\n}"


def test_the_command_reads_the_configuration_of_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_config(tmp_path / "config.yaml", configuration())
    assert main(["cite", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (
        "[segmentation (SAM)] Alexander Kirillov, Eric Mintun, Nikhila Ravi et al.: Segment" in text
    )
    assert main(["cite", str(tmp_path), "--bibtex"]) == 0
    assert capsys.readouterr().out.count("@") == text.count("\n")


@pytest.mark.parametrize("arguments", [["cite", "nowhere"]])
def test_a_folder_that_is_no_run_is_an_error(arguments, capsys):
    assert main(arguments) == 2
    assert "nowhere/config.yaml does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["cite"], ["explore", "--no-browser", "--port", "0"]])
def test_a_damaged_configuration_of_a_run_is_named(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = tmp_path / "results/run"
    (run / "index").mkdir(parents=True)
    for name in ("config.yaml", "report.html", "index/images.parquet"):
        (run / name).touch()
    assert main([*command, str(run)]) == 2
    told = f"{run}/config.yaml: the end of the file is missing; restore it, or delete {run}/report"
    assert told in capsys.readouterr().err
