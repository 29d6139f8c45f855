"""`python -m aurify`: the command line."""

from aurify.cli import main

main()
