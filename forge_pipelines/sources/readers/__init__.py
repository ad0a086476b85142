"""From bytes to text: one file a format family, registered in `registry`. Content decides, not the file's name."""
