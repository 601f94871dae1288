"""python -m geoloc.verify"""

import sys

from geoloc.verify.command import main

sys.exit(main())
