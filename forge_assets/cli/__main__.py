"""`python -m forge_assets.cli`: the same as `forge`."""

from forge_assets.cli import main

main()
