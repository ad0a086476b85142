"""Documents become a corpus: cleaned, deduplicated, split, held to expectations. One file a concern."""
