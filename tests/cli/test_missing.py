"""`geoloc missing` asks for the files that do not exist; tests/workflow shows it on a whole run."""

from __future__ import annotations

import subprocess

import pytest

from geoloc.cli import missing

HEADER = "output_file\tdate\trule\tlog-file(s)\tstatus\tplan"


def summary(*rows: tuple[str, str]) -> str:
    lines = [f"{path}\t-\trule\t-\t{status}\tno update" for path, status in rows]
    return "\n".join(["Building DAG of jobs...", HEADER, *lines])


def test_files_of_the_run_that_do_not_exist_are_missing():
    found = missing.missing_files(
        summary(
            ("results/a b/table1.csv", "missing"),
            ("results/a b/models/cnn", "ok"),
            ("results/a b/images/x.h5", "updated input files"),
            ("resources/weights/sam.pth", "missing"),
        )
    )
    assert found == ["results/a b/table1.csv"]


def test_without_an_index_everything_is_asked_for():
    found = missing.missing_files(summary(("results/study/index/shards.csv", "missing")))
    assert found == ["results/study/index/shards.csv", "all"]


def test_without_a_table_nothing_is_taken_for_complete():
    with pytest.raises(ValueError, match="printed no table"):
        missing.missing_files("Building DAG of jobs...")


@pytest.fixture
def runs(monkeypatch):
    """Commands that were run; summaries are taken from a list, its last one again and again."""
    state = {"summaries": [summary()], "commands": [], "asked": 0, "status": 0}

    def run(command, **options):
        if "--summary" in command:
            state["asked"] += 1
            text = state["summaries"][0]
            del state["summaries"][: len(state["summaries"]) > 1]
            return subprocess.CompletedProcess(command, state["status"], text, "cannot plan")
        state["commands"].append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(missing.shutil, "which", lambda name: name)
    return state


def test_it_asks_again_until_nothing_is_missing(runs, capsys):
    runs["summaries"] = [summary((f"results/r/{name}", "missing")) for name in "ab"] + [summary()]
    assert missing.main(["--", "--configfile", "my.yaml"]) == 0
    assert [command[-1] for command in runs["commands"]] == ["results/r/a", "results/r/b"]
    assert all("my.yaml" in command for command in runs["commands"])
    assert "Nothing" not in capsys.readouterr().out


@pytest.mark.parametrize(("option", "asked"), [("-n", 1), ("--dry-run", 1), ("-nq", 2)])
def test_a_dry_run_ends_although_the_files_stay_missing(runs, option, asked):
    runs["summaries"] = [summary(("results/r/a", "missing"))]
    assert missing.main(["--", option]) == 0
    assert (len(runs["commands"]), runs["asked"]) == (1, asked)


def test_nothing_missing_is_said_and_a_named_file_is_built(runs, capsys):
    assert missing.main([]) == 0
    assert capsys.readouterr().out == "Nothing is missing.\n"
    assert missing.main(["results/r/figure.png"]) == 0
    assert [command[-1] for command in runs["commands"]] == ["results/r/figure.png"]


def test_what_cannot_be_planned_ends_with_the_message_of_snakemake(runs, capsys):
    runs["status"] = 1
    with pytest.raises(SystemExit) as stop:
        missing.main([])
    assert stop.value.code == 1
    assert "cannot plan" in capsys.readouterr().err
