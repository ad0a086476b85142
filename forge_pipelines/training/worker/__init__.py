"""The processes that import torch and DeepSpeed: torchrun's launcher, and the ranks that it starts."""

LAUNCHER_PID = "FORGE_LAUNCHER_PID"
"""Variable by which the launcher tells the ranks its process id."""
