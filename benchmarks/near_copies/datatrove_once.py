"""`python datatrove_once.py DOCUMENTS FOLDER`: the four MinHash stages of datatrove, in its own environment.

The stages are called one after another in this process, on documents in memory: nothing of its executor is measured.
"""

import json
import struct
import sys
import time
from pathlib import Path

from clock import cpu_seconds
from datatrove.data import Document
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.utils.logging import logger

BANDS, ROWS = 14, 8


def main(path: Path, folder: Path) -> None:
    logger.remove()
    texts = [json.loads(line) for line in path.open()]
    documents = [Document(text=each["text"], id=each["name"]) for each in texts]
    config = MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)
    signatures, pairs, removed = (str(folder / name) for name in ("signatures", "pairs", "removed"))
    started, used = time.monotonic(), cpu_seconds()
    MinhashDedupSignature(signatures, config).run(iter(documents))
    signed = time.monotonic() - started
    for bucket in range(BANDS):
        MinhashDedupBuckets(signatures, pairs, config=config).run(rank=bucket, world_size=BANDS)
    MinhashDedupCluster(pairs, removed, config=config, save_cluster_id=True).run()
    kept = {each.id for each in MinhashDedupFilter(removed).run(iter(documents))}
    taken = {"seconds": time.monotonic() - started, "cpu_seconds": cpu_seconds() - used, "signing_seconds": signed}
    content = Path(removed, "000000.clusters").read_bytes()
    clusters = {documents[number].id: cluster for number, cluster in struct.iter_unpack("<2I", content)}
    survivors = {cluster: name for name, cluster in clusters.items() if name in kept}
    gone = {name: survivors[cluster] for name, cluster in clusters.items() if name not in kept}
    print(json.dumps({**taken, "removed": gone}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
