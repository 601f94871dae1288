"""Results do not depend on the environment of the user who computes them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.processes import ENVIRONMENT

SAME = (
    "probabilities.npy", "predictions.csv", "table1.csv", "history.csv", "curves.png",
    "figure2.png",
)  # fmt: skip


def compute(folder: Path, **changes: str) -> None:
    """Run the last stages of a tiny world in a process with other environment variables."""
    folder.mkdir()
    command = ["bash", "-c", 'umask "$1"; shift; exec "$@"', "-", changes.pop("umask", "022")]
    command += [sys.executable, "-m", "tests.last_stages", str(folder)]
    result = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT | changes, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]


def test_an_alien_environment_changes_no_byte(tmp_path):
    compute(tmp_path / "usual")
    home = tmp_path / "home"
    (home / ".keras").mkdir(parents=True)
    settings = {
        "image_data_format": "channels_first",
        "floatx": "float16",
        "epsilon": 0.1,
        "backend": "jax",
    }
    (home / ".keras/keras.json").write_text(json.dumps(settings))
    (home / ".config/matplotlib").mkdir(parents=True)
    rc = "text.usetex: True\nsavefig.dpi: 30\nfont.size: 30\naxes.facecolor: black\n"
    (home / ".config/matplotlib/matplotlibrc").write_text(rc)
    (tmp_path / "temporary folder").mkdir()
    compute(
        tmp_path / "it's alien", umask="077", HOME=str(home), KERAS_BACKEND="torch",
        MPLBACKEND="module://matplotlib_inline.backend_inline", LC_ALL="tr_TR.ISO-8859-9",
        LANG="C", TMPDIR=str(tmp_path / "temporary folder"),
    )  # fmt: skip
    compute(
        tmp_path / "homeless",
        HOME="/proc/nowhere",
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    for name in SAME:
        expected = (tmp_path / "usual" / name).read_bytes()
        for folder in ("it's alien", "homeless"):
            assert (tmp_path / folder / name).read_bytes() == expected, f"{name} of {folder}"
