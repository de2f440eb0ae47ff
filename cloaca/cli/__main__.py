"""``python -m cloaca.cli``: the command line where no console script is installed."""

import sys

from cloaca.cli import main

if __name__ == "__main__":
    sys.exit(main())
