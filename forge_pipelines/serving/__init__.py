"""A registered model as an OpenAI-compatible endpoint on this machine, and as a conversation in the terminal."""
