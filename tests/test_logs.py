"""What a job's log says, and where its packages come from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

SCRIPT = """
import sys
sys.path.append(sys.argv[2])  # as Snakemake does in a container
import geoloc
from geoloc.logs import start_log
start_log(sys.argv[1])
import h5py
try:
    import only_on_the_host
except ImportError:
    print("missed")
"""


def test_a_log_tells_the_packages_and_nothing_is_taken_from_beside_snakemake(tmp_path):
    host = tmp_path / "snakemake_searchpaths/item_0"
    host.mkdir(parents=True)
    (host / "only_on_the_host.py").write_text("")
    log = tmp_path / "job.log"
    command = [sys.executable, "-c", SCRIPT, str(log), str(host)]
    result = subprocess.run(
        command, cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    assert result.stdout == "missed\n"
    import h5py

    packages = next(line for line in log.read_text().splitlines() if "packages of" in line)
    assert f"h5py {h5py.__version__}" in packages
    assert str(Path(h5py.__file__).parents[1]) in packages
