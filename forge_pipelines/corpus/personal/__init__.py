"""Personal data and secrets in documents: one file a family of kinds finds them, `redact.py` replaces or rejects."""
