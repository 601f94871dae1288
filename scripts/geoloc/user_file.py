"""Users' own Python files: datasets, segmenters, models and sources.

Such a file has a function `load(**options)` that gets the options of the configuration and returns
the function or object described in docs/extending.md. The code runs with the permissions of the
job, like the workflow itself: use only files that you trust.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from geoloc.errors import GeolocError, InputError, MissingFile
from geoloc.files import file_hash


def load_user_object(path: str | Path, options: Mapping[str, Any]) -> Any:
    """Run a user's file and call its `load`.

    Args:
        path: the file, `….py`.
        options: keyword arguments of `load`.

    Returns:
        What `load` returns.

    Raises:
        OSError: if the file does not exist.
        InputError: if it is not a Python file, has no `load`, or raises an error; the message has
            the file and the line.
    """
    load = getattr(run_user_file(path), "load", None)
    if not callable(load):
        raise InputError(f"{path}: has no function load(**options); add one (docs/extending.md)")
    with user_errors(path):
        return load(**options)


def code_digest(path: str | Path) -> str:
    """Return the SHA-256 of a user's file in hexadecimal, which records the code that was used.

    Modules that the file imports don't count.

    Raises:
        OSError: if the file does not exist.
        InputError: if it is not a Python file.
    """
    _check_file(path)
    return file_hash(path)


def _check_file(path: str | Path) -> None:
    if not Path(path).is_file():
        raise MissingFile(f"{path}: no such file; give the path of your Python file")
    if Path(path).suffix != ".py":
        raise InputError(f"{path}: not a Python file; its name must end with .py")


def run_user_file(path: str | Path) -> ModuleType:
    """Run a user's file, which may import modules next to it, and return its module.

    Raises:
        OSError: if the file does not exist.
        InputError: if it is not a Python file or raises an error; the message has the file and the
            line.
    """
    _check_file(path)
    path = Path(path)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    with user_errors(path):
        spec = importlib.util.spec_from_file_location(f"geoloc_user_{path.stem}", path.resolve())
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # pickle and dataclasses look up modules by name
        # Not exec_module, which runs cached bytecode after an edit in the same second.
        tree = ast.parse(path.read_bytes(), str(path.resolve()))
        _check_imports(path, tree)
        code = compile(tree, str(path.resolve()), "exec", dont_inherit=True)
        exec(code, module.__dict__)
    return module


def _check_imports(path: Path, tree: ast.Module) -> None:
    """Raise InputError if a file would import another module than the one next to it.

    Python keeps one module for each name: that of another user's file, of a package, or its own.
    """
    for name in sorted(_imported(tree)):
        own = [path.resolve().parent / name for name in (f"{name}.py", f"{name}/__init__.py")]
        if not any(map(Path.is_file, own)):
            continue
        if name in sys.modules:
            origin = getattr(sys.modules[name], "__file__", None)
        else:
            origin = importlib.util.find_spec(name).origin
        if origin is None or Path(origin).resolve() not in own:
            raise InputError(
                f"{path}: `import {name}` gives {origin or 'a module of Python'}, not the {name} "
                "next to the file; rename that and the import"
            )


def _imported(tree: ast.Module) -> set[str]:
    """Return the top-level names of the modules that a file imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@contextmanager
def user_errors(path: str | Path) -> Iterator[None]:
    """Turn an error of a user's code into one line with the file and the line.

    Raises:
        InputError: for any error of the `with` block. Errors of this project pass unchanged.
    """
    try:
        yield
    except GeolocError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        told = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
        raise InputError(f"{path}{_line(path, error)}: {told}; correct the file") from error


def _line(path: str | Path, error: Exception) -> str:
    """Return `, line 12` of the file where the error occurred, or ""."""
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}" if error.lineno else ""
    own = str(Path(path).resolve())
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == own]
    return f", line {lines[-1]}" if lines else ""
