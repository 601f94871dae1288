"""Errors for the user: what is wrong, where, and what to do.

A job that ends with one of them logs its message as one line. Any other error is a bug and is
logged with its traceback (`geoloc.logs`).
"""

from __future__ import annotations


class GeolocError(Exception):
    """Base class of all errors that this project raises for its users."""


class InputError(GeolocError, ValueError):
    """A value, a name or the content of a file can't be used."""


class FileError(GeolocError, OSError):
    """A file is missing, damaged or invalid."""


class MissingFile(FileError, FileNotFoundError):
    """A file does not exist."""


class InUse(FileError, BlockingIOError):
    """Another process is using a folder."""


class Diverged(GeolocError, RuntimeError):
    """A loss, a gradient or a weight became NaN or infinite in training."""
