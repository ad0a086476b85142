"""Which NVIDIA devices there are, what a step asks of them, and who holds them."""
