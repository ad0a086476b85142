"""Forge's work in plain Python: documents in, a registered model out. Nothing here imports Dagster."""
