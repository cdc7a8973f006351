"""Run the command line: `python -m scanline`."""

from scanline.cli import main

main()
