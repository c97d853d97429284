"""``python -m candelabra``."""

import sys

from candelabra.cli import main

if __name__ == "__main__":
    sys.exit(main())
