"""`python -m tf1_mtl`: the command line."""

import sys

from tf1_mtl.cli import main

if __name__ == "__main__":
    sys.exit(main())
