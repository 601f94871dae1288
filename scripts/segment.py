"""Find the regions of a shard's images and their classes."""

from pathlib import Path

from geoloc.corpus.download import checked_hash
from geoloc.logs import start_log
from geoloc.pytorch.device import check_device, use_threads
from geoloc.segmentation.kinds import build_segmentation
from geoloc.segmentation.shard import segment_shard

start_log(snakemake.log[0])
use_threads(snakemake.threads)
check_device(snakemake.params.allow_cpu)
settings, weights = dict(snakemake.params.segmentation), {}
for path, entry in snakemake.params.weights.items():
    weights[path] = checked_hash(Path(path), entry)
segment_shard(
    snakemake.input.images,
    snakemake.output.segments,
    *build_segmentation(settings, snakemake.params.engine),
    settings | {"weights": weights},
    snakemake.params.index_folder,
)
