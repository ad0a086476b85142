"""How many samples a second the order function gives."""

import time

import numpy as np

from forge_pipelines.shards.order import CorpusRange, OrderSpec, sequences_of

SAMPLES = 4_000_000

if __name__ == "__main__":
    for sequences in (1 << 20, 1_000_003):
        corpus = CorpusRange(corpus="c", fingerprint="f", weight=1, first_sequence=0, num_sequences=sequences)
        started = time.perf_counter()
        sequences_of(OrderSpec(corpora=(corpus,)), np.arange(SAMPLES))
        rate = SAMPLES / (time.perf_counter() - started) / 1e6
        print(f"order function, {sequences:,} sequences: {rate:.1f} million samples a second")
