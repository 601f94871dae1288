"""Argument types shared by several commands."""

from __future__ import annotations

import argparse


def positive(text: str) -> int:
    """Parse a whole number above zero."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above zero, got {text!r}")
    return number
