"""``python -m eli5k``: the same as the command ``eli5k``."""

import sys

from eli5k.cli import main

if __name__ == "__main__":
    sys.exit(main())
