"""The commands of README and docs: each names a target, a configuration or a module that exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from geoloc.cli.main import COMMANDS
from geoloc.config import check_config, load_schema
from tests.conftest import ROOT
from tests.workflow.test_workflow import make_workdir, run_snakemake

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "config/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def commands(page: Path) -> list[str]:
    """Lines of the page's bash blocks, without comments and with continued lines joined, and
    commands within its text."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    lines = re.sub(r"\\\n\s*", " ", blocks).splitlines()
    lines += re.findall(r"`((?:make|geoloc|snakemake) [a-z-][^`]*)`", text)
    return [line.split("  #")[0].split(" # ")[0].strip() for line in lines if line.strip()]


WRITTEN = sorted({command for page in PAGES for command in commands(page)})


TEXT = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.partition(":")[0])
def test_an_example_of_a_configuration_fits_the_study(example):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    update_config(config, yaml.safe_load(example))
    check_config(config, load_schema(ROOT / "config/config.schema.yaml"))


def test_the_list_of_kinds_is_complete():
    """The tables below `segmentations` and `models` have a row for each kind of the schema."""
    kinds = load_schema(ROOT / "config/config.schema.yaml")["$defs"]
    for section, definition in (("segmentations", "segmentation"), ("models", "model")):
        part = TEXT.partition(f"### `{section}`")[2].partition("\n### ")[0]
        rows = re.findall(r"^\| `(\w+)` \|", part.partition("|---")[2], flags=re.MULTILINE)
        assert sorted(rows) == sorted(kinds[definition]["kinds"]), section


def of(program: str) -> list[str]:
    return [command for command in WRITTEN if command.split()[0] == program]


def test_the_readme_fits_on_150_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_has_a_line_for_every_experiment():
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| experiment |")[2]
    named = re.findall(r"^\| `(\w+)` \|", table.partition("\n\n")[0], flags=re.MULTILINE)
    assert sorted(named) == sorted(p.stem for p in (ROOT / "config/experiments").glob("*.yaml"))


def test_every_page_that_is_named_exists():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_make_explains_every_target_that_is_named():
    result = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    told = set(re.findall(r"[\w-]+", result.stdout))
    assert {command.split()[1] for command in of("make")} <= told


def test_every_command_of_geoloc_that_is_named_exists():
    """tests/cli/test_main.py starts each of them with --help."""
    named = {command.split()[1] for command in of("geoloc")}
    assert len(named) > 5
    assert named <= set(COMMANDS)


# `my.yaml` stands for the reader's own configuration, X for a rule. `geoloc_all` is a rule of a
# workflow that uses this one as a module (tests/workflow/test_module.py).
NOT_PLANNED = ("--profile", "--report", "--unlock", "--forcerun X", "geoloc_all")
PLANS = {
    command for command in of("snakemake") if not any(option in command for option in NOT_PLANNED)
}


@pytest.mark.parametrize("command", sorted(PLANS))
def test_snakemake_plans_what_it_is_asked_for(command, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "scripts"))  # for --logger geoloc
    folder = make_workdir(tmp_path)
    (folder / "my.yaml").write_text("run: mine\n")
    (folder / "slurm").symlink_to(ROOT / "profiles/slurm")
    arguments = [word for word in shlex.split(command)[1:] if word != "-n"]
    run_snakemake(folder, "-n", *arguments)


def test_every_rule_with_a_gpu_has_a_partition_in_the_profile_for_slurm():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    head = r"^ *(?:use rule (\w+) as|rule|checkpoint) (\w+)(?: with)?:$"
    blocks = re.split(head, rules, flags=re.MULTILINE)[1:]
    with_gpu: set[str] = set()
    for base, name, text in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
        if "gpu=" in text or base in with_gpu:  # a rule made of another has its resources
            with_gpu.add(name)
    assert with_gpu == profile["set-resources"].keys()
