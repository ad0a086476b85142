"""Shards become a checkpoint. The stage prepares one job and watches; the worker holds torch and DeepSpeed."""
