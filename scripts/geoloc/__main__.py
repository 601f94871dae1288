"""`python -m geoloc`, for where the command `geoloc` is not installed, such as a container."""

import sys

from geoloc.cli.main import main

sys.exit(main())
