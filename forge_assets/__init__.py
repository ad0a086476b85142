"""Forge as Dagster sees it: what is made, and when. How it is made is `forge_pipelines`."""
