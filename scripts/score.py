"""Make the score maps of a shard from its segments."""

from geoloc.logs import start_log
from geoloc.segmentation.scoring import read_selected, score_map
from geoloc.stores import read_segments, write_scores

log = start_log(snakemake.log[0])
params = snakemake.params
selected = read_selected(snakemake.input.classes, params.ambiguous_classes, params.vocabulary)
count = write_scores(
    snakemake.output.scores,
    (
        (segments.image_id, score_map(segments, selected, params.minimum, params.merge))
        for segments in read_segments(snakemake.input.segments, index=params.index_folder)
    ),
    {"selected": selected.tolist(), "minimum": params.minimum, "merge": params.merge},
)
log.info("%d score maps", count)
