"""Which documents are held out of training."""

from typing import Literal

from forge_pipelines.corpus.config import Split
from forge_pipelines.manifest import sha256_text

Part = Literal["train", "heldout"]
_DIGITS = 13  # 52 bits: as many as a float holds exactly


def part_of(text_sha256: str, split: Split) -> Part:
    """Draw a text's part from its hash and the salt alone: other documents, and their order, do not matter."""
    drawn = int(sha256_text(f"{split.salt}:{text_sha256}")[:_DIGITS], 16) / 16**_DIGITS
    return "heldout" if drawn < split.heldout_fraction else "train"
