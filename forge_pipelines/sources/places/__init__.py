"""The kinds of place that documents come from: one file each, and `opening`, which knows them all."""
