"""The three components that data engineers fill in as YAML."""

from forge_assets.components.corpus import Corpus
from forge_assets.components.model import Model
from forge_assets.components.source import Source

__all__ = ["Corpus", "Model", "Source"]
