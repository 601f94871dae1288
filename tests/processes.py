"""Code run in a process of its own, so that torch and TensorFlow do not share one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'scripts'}", "OMP_NUM_THREADS": "1"}


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
