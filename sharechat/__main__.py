"""`python -m sharechat` is the `sharechat` command."""

from sharechat.cli import main

main()
