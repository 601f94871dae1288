"""Errors that are meant for the user: what is wrong, where, and what to do.

A job that ends with one of them logs its message as one line; any other error is a mistake in the
program and is logged with its traceback (`geoloc.logs`).
"""

from __future__ import annotations


class GeolocError(Exception):
    """Base of every error that this project raises for its user."""


class InputError(GeolocError, ValueError):
    """A value, a name or the content of a file cannot be used."""


class FileError(GeolocError, OSError):
    """A file is missing, damaged or not what it should be."""


class MissingFile(FileError, FileNotFoundError):
    """A file does not exist."""


class InUse(FileError, BlockingIOError):
    """Another process works in a folder."""


class Diverged(GeolocError, RuntimeError):
    """A loss, a gradient or a weight of a training is not finite."""
