"""`python -m tune.report STUDY`, the same as `t5vqvae report STUDY`."""

import sys

from tune.cli import main

sys.exit(main(["report", *sys.argv[1:]]))
