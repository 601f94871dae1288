"""Check downloads by their content: a server may send a sign-in page with the status 200."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from geoloc.corpus.file_starts import is_web_page, start
from geoloc.corpus.unpack import is_archive_start


def check_archive(path: Path) -> str:
    """Return what is wrong with a file that should be a zip or tar archive, or ""."""
    return "" if is_archive_start(start(path)) else "it is not a zip or tar archive"


def check_table(path: Path, name: str, entry: Mapping, final: Path | None = None) -> str:
    """Return what is wrong with a file that should be the table of a source.

    Args:
        path: the file. Its suffix may differ from the table's.
        name: name of the source.
        entry: its entry in the configuration, which names the columns.
        final: where the table will be.

    Returns:
        The reason why it is not the table, or "" if it has the configured columns and a row.
    """
    from geoloc.corpus.sources import KINDS  # with all that geocoding needs
    from geoloc.corpus.sources.base import Source, SourceError
    from geoloc.corpus.sources.tables import read_rows

    final = final or path
    if is_web_page(path):
        return "it is not a table"
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / final.name
        link.symlink_to(path.absolute())
        wanted = {**entry, "path": folder, "table": link.name}
        source = Source.from_config(name, name, wanted)
        try:
            first = next(read_rows(source, KINDS[entry["kind"]].KEYS), None)
        except SourceError as error:
            return str(error).replace(str(link), str(final))
    return "" if first else "it is empty below its header"
