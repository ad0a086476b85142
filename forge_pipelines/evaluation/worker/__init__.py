"""The scoring process: the only part of the room that imports torch."""
