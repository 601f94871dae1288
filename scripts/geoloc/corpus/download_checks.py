"""What a download is, by its content: a server may answer with a page for signing in, or with an
error as text, and the status 200."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from geoloc.corpus.file_starts import is_web_page, start
from geoloc.corpus.unpack import is_archive_start


def check_archive(path: Path) -> str:
    """What is wrong with a file that should be a zip or tar archive; "" where it may be one."""
    return "" if is_archive_start(start(path)) else "it is not a zip or tar archive"


def check_table(path: Path, name: str, entry: Mapping, final: Path | None = None) -> str:
    """What is wrong with a file that should be the table of a source.

    Args:
        path: the file, whose suffix may be another than that of the table.
        name, entry: the source and its entry in the configuration, with the names of its columns.
        final: where the table will be.

    Returns:
        The reason why it is not the table; "" where it has the configured columns and a row.
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
    return "" if first else "it has no rows"
