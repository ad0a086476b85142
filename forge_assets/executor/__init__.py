"""Where steps run, and what ends a run whose processes are gone."""
