"""Code run in a process of its own, so that torch and TensorFlow do not share one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.fork_server import ForkServer

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}", "OMP_NUM_THREADS": "1"}

# Snakemake, and packages that it or the rules import while a workflow is planned.
SNAKEMAKE = ForkServer(
    ["snakemake.cli", "jsonschema", "nbformat", "jinja2", "requests", "PIL.Image", "pillow_heif"]
)
KERAS = ForkServer(["geoloc.keras_models"], ENVIRONMENT)


def snakemake(
    folder: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in `folder`; it may fail."""
    return SNAKEMAKE.run(
        ["-m", "snakemake", "--nocolor", *arguments], folder, environment or os.environ
    )


def run_keras(code: str, *arguments: object) -> None:
    """Like `run_python`, for code that needs Keras: in a fork of a process that has imported it."""
    result = KERAS.run(["-c", code, *map(str, arguments)], Path.cwd(), ENVIRONMENT)
    assert result.returncode == 0, result.stdout + result.stderr


def run_python(code: str, *arguments: object) -> None:
    """Run `code`, which finds its arguments in `sys.argv[1:]`; an error of it is one here."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    subprocess.run(command, check=True, env=ENVIRONMENT)


def export_efficientnet_lite0(path: Path) -> Path:
    """Write the ImageNet weights of EfficientNet-Lite0 for Keras, and give their path back."""
    module = "geoloc.segmentation.classifiers.efficientnet_lite0_export"
    run_python(
        f"import sys\nfrom {module} import export_weights\nexport_weights(sys.argv[1])", path
    )
    return path
