import sys

from tests.fuzz.runs import main

if __name__ == "__main__":
    sys.exit(main())
