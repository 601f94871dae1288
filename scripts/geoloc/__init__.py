"""The library of the workflow.

In a container Snakemake puts the packages that lie beside it on the host onto a script's path, for
its own imports. They are taken off here: what the image lacks is missed, not taken from the host.
"""

import os
import sys

__version__ = "0.2.0"

sys.path[:] = [folder for folder in sys.path if "/snakemake_searchpaths/" not in folder]

# HDF5 reads it when h5py is imported, before anything it is told by a call. Stores are complete
# when they appear, and some file systems have no locks.
os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
