"""A yardstick without a network: what a general-purpose compressor needs for the same text."""

import lzma
from collections.abc import Sequence


def xz_bits_per_character(texts: Sequence[str]) -> float:
    """Return the bits a character that xz (preset 9, extreme) needs for the texts as one UTF-8 stream.

    A favourable setting for xz: it learns from all the texts before the one at hand, while the model meets each
    text alone.
    """
    compressor = lzma.LZMACompressor(preset=9 | lzma.PRESET_EXTREME)
    num_bytes = sum(len(compressor.compress(text.encode())) for text in texts) + len(compressor.flush())
    return 8 * num_bytes / sum(len(text) for text in texts)
