"""`python -m geoloc`, where the command `geoloc` is not installed, such as in a container."""

import sys

from geoloc.cli.main import main

sys.exit(main())
