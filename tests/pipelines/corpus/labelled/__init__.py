"""Synthetic text of six locales with planted personal data and secrets, and with what only looks like them."""
