"""How many samples a second the order function gives, and how many it finds back by the sequences that they read."""

import time

import numpy as np

from forge_pipelines.shards.order import CorpusRange, OrderSpec, samples_of, sequences_of

SAMPLES = 4_000_000

if __name__ == "__main__":
    for sequences in (1 << 20, 1_000_003):
        corpus = CorpusRange(corpus="c", fingerprint="f", weight=1, first_sequence=0, num_sequences=sequences)
        order = OrderSpec(corpora=(corpus,))
        started = time.perf_counter()
        sequences_of(order, np.arange(SAMPLES))
        rate = SAMPLES / (time.perf_counter() - started) / 1e6
        started = time.perf_counter()
        found = len(samples_of(order, np.arange(sequences), SAMPLES))
        back = found / (time.perf_counter() - started) / 1e6
        figures = f"{rate:.1f} million samples a second, {back:.1f} million found back"
        print(f"order function, {sequences:,} sequences: {figures}")
