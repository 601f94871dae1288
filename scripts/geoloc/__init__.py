"""The library of the workflow.

In a container, Snakemake adds the host's packages next to it to a script's path, for its own
imports. They are removed here: a package missing from the image fails the job instead of silently
coming from the host.
"""

import os
import sys

__version__ = "0.2.0"

sys.path[:] = [folder for folder in sys.path if "/snakemake_searchpaths/" not in folder]

# HDF5 reads this when h5py is imported, before any call can set it. Stores are complete when they
# appear, and some file systems have no locks.
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
