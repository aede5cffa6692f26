"""`python -m taskrunner` is `taskrunner`."""

from taskrunner.cli import main

main()
