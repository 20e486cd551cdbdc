"""``python -m refwfm``: the command, where the script is not on the path."""

from refwfm.cli import main

main()
