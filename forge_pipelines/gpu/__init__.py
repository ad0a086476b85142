"""Which NVIDIA devices there are, and what a step asks of them."""
