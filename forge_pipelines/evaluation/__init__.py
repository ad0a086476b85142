"""A checkpoint is measured beside its base: scores of each held-out document, and numbers with intervals."""
