"""Find the masks of a shard's images and the ten best classes of each."""

from pathlib import Path

from geoloc.corpus.download import check_sum
from geoloc.files import file_hash
from geoloc.logs import start_log
from geoloc.pytorch.device import use_threads
from geoloc.segmentation.classifiers import build_classifier
from geoloc.segmentation.segmenters import build_segmenter
from geoloc.segmentation.shard import segment_shard

start_log(snakemake.log[0])
use_threads(snakemake.threads)
settings, engine = dict(snakemake.params.segment), snakemake.params.engine
names = ("segmenter", "segmenter_weights", "classifier", "classifier_weights")
segmenter, segmenter_weights, classifier, classifier_weights = map(settings.pop, names)
weights = {}
for path, entry in snakemake.params.weights.items():
    check_sum(Path(path), entry)
    weights[path] = entry.get("sha256") or file_hash(path)
segment_shard(
    snakemake.input.images,
    snakemake.output.segments,
    build_segmenter(
        segmenter,
        segmenter_weights,
        points_per_batch=engine["points_per_batch"],
        image_batch=engine["image_batch"],
        compile=engine["compile"],
        **settings,
    ),
    build_classifier(
        classifier,
        classifier_weights,
        batch_size=engine["crop_batch"],
        precision=settings["precision"],
        compile=engine["compile"],
    ),
    snakemake.params.segment | {"weights": weights},
    snakemake.params.index_folder,
)
