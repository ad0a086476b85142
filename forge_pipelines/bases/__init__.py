"""Open models brought in once: what is allowed, where it came from, and its weights as safetensors in the store."""
