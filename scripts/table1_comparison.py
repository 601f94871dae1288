"""Table 1 next to the published one: ours, published, difference."""

from geoloc.corpus.index_tables import kept_classes
from geoloc.evaluation.study import other_classes, refuse_differences
from geoloc.evaluation.table1 import compare, read_table1
from geoloc.files import atomic_path
from geoloc.logs import start_log
from geoloc.segmentation.scoring import read_selected

log = start_log(snakemake.log[0])
params = snakemake.params
refuse_differences(params.differences)
comparison = compare(read_table1(snakemake.input.table), params.titles)
selected = [read_selected(path) for path in snakemake.input.classes]
if other := other_classes(kept_classes(snakemake.input.countries), selected):
    log.warning(
        "nothing is compared with the published table: this run has %s", " and ".join(other)
    )
    comparison = comparison[:0]
with atomic_path(snakemake.output.comparison) as temporary:
    comparison.to_csv(temporary, index=False)
log.info("%d cells are in both tables", len(comparison))
