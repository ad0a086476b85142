"""What may go from the store, and how it goes."""
