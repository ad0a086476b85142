"""The converting process: the part of the room that imports torch."""
