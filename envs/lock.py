"""Resolve the pins of envs/*.txt into locks with hashes and Conda environments: `make lock`.

`envs/lock/dev.txt` is the lock of everything, which `make setup` installs. The others are its
subsets, which the images install, and `envs/*.yaml` has their versions for Conda. Needs uv.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ENVS = Path(__file__).parent
IMAGES = ("geo", "torch", "tensorflow")
# Versions that a lock has already are kept. One lock for Python 3.11 to 3.13 and all systems.
COMPILE = (
    "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
    "--generate-hashes", "--no-annotate", "--custom-compile-command", "make lock",
)  # fmt: skip
HEAD = """\
# For --sdm conda: the versions of lock/{name}.txt, one by one, because Snakemake copies this file
# elsewhere. Made by `make lock`.
channels:
  - conda-forge
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def compile_lock(name: str, *options: str) -> None:
    """Write lock/{name}.txt from {name}.txt."""
    inputs = [f"{name}.txt"] + (["cuda.txt"] if name == "tensorflow" else [])
    command = [*COMPILE, *inputs, *options, "--output-file", f"lock/{name}.txt"]
    subprocess.run(command, cwd=ENVS, check=True)


def locked(name: str) -> list[str]:
    """The requirements of lock/{name}.txt without their hashes."""
    text = (ENVS / f"lock/{name}.txt").read_text(encoding="utf-8")
    return re.findall(r"^([\w.-]+==[^\\\n]*?) *\\?$", text, flags=re.MULTILINE)


def write_conda(name: str) -> None:
    lines = [f"      - {requirement}\n" for requirement in locked(name)]
    (ENVS / f"{name}.yaml").write_text(HEAD.format(name=name) + "".join(lines), encoding="utf-8")


def main() -> int:
    if not shutil.which("uv"):
        print("uv is not installed: pip install uv", file=sys.stderr)
        return 1
    (ENVS / "lock").mkdir(exist_ok=True)
    compile_lock("dev", *sys.argv[1:])
    for name in IMAGES:
        compile_lock(name, "--constraints", "lock/dev.txt")
        write_conda(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
