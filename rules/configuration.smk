# The checked configuration, with paths as seen by a workflow that uses this one as a module.
#
# Snakemake documents no public way to ask for what the rules read from `workflow`: whether this is
# the main process, its configuration files, nodes, path variables and global resources.

import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The project's folder; workflow.basedir is another one if a workflow uses this one as a module.
ROOT = Path(workflow.snakefile).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from geoloc.config import (
    MATRIX,
    ConfigError,
    check_config,
    check_keys_once,
    files_of,
    link_name,
    load_schema,
    order_entries,
    place_paths,
    replaced_part,
    set_link,
    write_config,
)
from geoloc.corpus.sources import configured_sources


def placed(path):
    """The path with a module's prefix. Snakemake has no public way to get it."""
    return workflow.modifier.modify_path(path)


SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
try:
    if workflow.is_main_process:
        check_keys_once(workflow.configfiles)
    check_config(config, SCHEMA)
except ConfigError as error:
    raise WorkflowError(str(error)) from None
order_entries(config, load_schema(ROOT / "config/config.yaml"), SCHEMA)
# For inputs and outputs: Snakemake adds the module's prefix to these itself.
FOLDERS = {source.name: source.path for source in configured_sources(config)}
config = place_paths(config, ROOT, placed)


pathvars:
    results=f"results/{config['run']}",
    logs="<results>/logs",
    benchmarks="<results>/benchmarks",
    resources="resources",


RESULTS, RESOURCES = (
    str(placed(workflow.pathvars.apply(name))) for name in ("<results>", "<resources>")
)
# Every job checks the stores that it reads against the index.
INDEX = f"{RESULTS}/index"


def link_to(path):
    """A link with a name of which Snakemake replaces nothing."""
    link = placed(f".snakemake/paths/{link_name(path)}")
    try:
        set_link(Path(link), path)
    except OSError as error:
        raise WorkflowError(f"can't make a link to {path}: {error}") from None
    return link


# Links that stand in for paths of which Snakemake would take a part for a wildcard, also if an input
# function returns them. All are made now: later, Snakemake may have listed their folder already.
LINKS = {
    path: link_to(path)
    for section in ("sources", "test_sets", *MATRIX)
    for entry in config[section].values()
    for path in files_of(entry or {})
    if replaced_part(path)
}


def as_input(path):
    """A configured path, or each of a list, for the inputs of a rule."""
    if isinstance(path, list):
        return [LINKS.get(inner, inner) for inner in path]
    return LINKS.get(path, path)
