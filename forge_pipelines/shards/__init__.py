"""A corpus becomes token ids: a tokenizer, packed sequences, and which document stands where in them."""
