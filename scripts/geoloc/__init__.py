"""The library of the workflow.

In a container Snakemake puts the packages that lie beside it on the host onto a script's path, for
its own imports. They are taken off here: what the image lacks is missed, not taken from the host.
"""

import sys

__version__ = "0.2.0"

sys.path[:] = [folder for folder in sys.path if "/snakemake_searchpaths/" not in folder]
