"""`python -m camber`."""

from camber.cli.main import main

main()
