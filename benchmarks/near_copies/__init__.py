"""Near-copies beside datatrove: what is searched, and one search of either side."""
