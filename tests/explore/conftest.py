"""The run that the page shows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.explore.small_run import make_run


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    """Folder of the run, and its images without the one in quarantine."""
    return make_run(tmp_path_factory.mktemp("explore"))
