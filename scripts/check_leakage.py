"""Find near-duplicate images and nearby places across the splits."""

from geoloc.evaluation.leakage import (
    CATEGORIES,
    INDEX_COLUMNS,
    hash_stores,
    leakage_summary,
    leakage_table,
)
from geoloc.files import atomic_path
from geoloc.logs import start_log
from geoloc.tables import read_large_table

start_log(snakemake.log[0])
index = read_large_table(snakemake.input.index, INDEX_COLUMNS, CATEGORIES)
stores = [*snakemake.input.street, *snakemake.input.test_sets]
hashes = hash_stores(stores, snakemake.threads, snakemake.params.index_folder)
table = leakage_table(index, hashes, snakemake.params.near_duplicate_bits, snakemake.threads)
summary = leakage_summary(table, snakemake.params.near_duplicate_bits)
for path, frame in ((snakemake.output.images, table), (snakemake.output.summary, summary)):
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")
