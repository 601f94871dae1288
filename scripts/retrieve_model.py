"""Fetch a model folder from its hub: weights as safetensors, and nothing that can be executed."""

from huggingface_hub import snapshot_download

from geoloc.logs import start_log

start_log(snakemake.log[0])
entry = snakemake.params.entry
snapshot_download(
    entry["hub_id"],
    revision=entry["revision"],
    local_dir=snakemake.output.folder,
    allow_patterns=["*.json", "*.txt", "*.safetensors"],
)
