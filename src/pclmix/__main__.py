"""`python -m pclmix`."""

from pclmix.cli import main

main()
