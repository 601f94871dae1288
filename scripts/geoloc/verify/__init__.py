"""Check that a finished run is complete: every store, every count, every number of its tables."""

from geoloc.verify.command import main, verify
from geoloc.verify.run import Finding, Run

__all__ = ["Finding", "Run", "main", "verify"]
