"""`geoloc config` prints what a run will use."""

import pytest
import yaml

from geoloc.cli.config import main
from geoloc.config import ConfigError, check_config, load_schema
from tests.conftest import ROOT

DEMO = str(ROOT / "config/demo.yaml")


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_what_is_printed_is_a_checked_configuration_with_all_files_merged(capsys):
    assert main(["--configfile", DEMO, "config/experiments/controls.yaml"]) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["run"], config["index"]["geocoder"]) == ("demo", "nearest_city")
    assert config["datasets"]["inverted"]["lower_score"] == 10
    again = yaml.safe_load(yaml.safe_dump(config, sort_keys=False))
    check_config(again, load_schema(ROOT / "config/config.schema.yaml"))
    assert again == config


def test_a_section_and_the_rows_of_table_1(capsys):
    main(["--section", "datasets"])
    assert list(yaml.safe_load(capsys.readouterr().out)) == ["datasets"]
    main(["--rows"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "cnn/original/42"
    assert lines[-1] == "Im2GPS-3k-modified Accuracy"
    with pytest.raises(SystemExit):
        main(["--section", "nowhere"])
    assert "no section nowhere; use one of run, seed" in capsys.readouterr().err


def test_an_entry_that_is_removed_is_printed_as_null_so_that_the_output_is_a_configuration_file(
    tmp_path, capsys
):
    (tmp_path / "my.yaml").write_text("models: {clip: null}\ndatasets: {weighted_base: null}\n")
    main(["--configfile", DEMO, str(tmp_path / "my.yaml")])
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    main(["--configfile", str(tmp_path / "printed.yaml")])
    assert capsys.readouterr().out == printed
    main(["--configfile", str(tmp_path / "printed.yaml"), "--rows"])
    assert "clip" not in capsys.readouterr().out


def test_mistakes_are_an_error(tmp_path):
    (tmp_path / "my.yaml").write_text("index: {min_images: many}")
    with pytest.raises(ConfigError, match=r"index\.min_images: must be an integer"):
        main(["--configfile", str(tmp_path / "my.yaml")])
