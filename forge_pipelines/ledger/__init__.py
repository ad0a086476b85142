"""PostgreSQL: the embedded server, and Forge's own tables."""
