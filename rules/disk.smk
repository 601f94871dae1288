# Before anything else is said: on a full disk, Snakemake's own log and locks end in tracebacks.

import logging
import shutil
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

FREE_MB = 20

if workflow.is_main_process and "--unlock" not in sys.argv:
    RECORDS = Path(".snakemake").absolute()
    # It may be a link to another disk.
    if shutil.disk_usage(RECORDS if RECORDS.exists() else ".").free < FREE_MB << 20:
        logging.raiseExceptions = False
        raise WorkflowError(
            f"less than {FREE_MB} MB are free for {RECORDS}, where Snakemake keeps its records; "
            "make room and run again"
        )
