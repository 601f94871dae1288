"""Export the ImageNet weights of EfficientNet-Lite0 from its package, for the Keras backbone."""

from geoloc.logs import start_log
from geoloc.segmentation.classifiers.efficientnet_lite0_export import export_weights

start_log(snakemake.log[0])
export_weights(snakemake.output.weights)
