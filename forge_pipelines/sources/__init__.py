"""Where documents come from: places are listed, files are read, and every document gets its identity and labels."""
