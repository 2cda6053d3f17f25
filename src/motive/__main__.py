"""`python -m motive` is the `motive` command."""

from motive.cli import main

main()
