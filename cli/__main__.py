"""python -m cli: the command line from the sources."""

from cli.main import main

main()
