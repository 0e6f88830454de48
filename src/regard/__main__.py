"""`python -m regard`: the command line."""

from regard.app.cli import run

run()
