"""`python datatrove_once.py FOLDER CORES`: makes a corpus of `FOLDER/documents` by datatrove, in its own environment.

The steps are Forge's, in the order of FineWeb's own pipeline, with Forge's thresholds where datatrove's differ. What
can be done quicker is: signatures are made in the pass that filters, files are not compressed, what is rejected is not
kept, and workers are forked, which spares them the imports that datatrove's own way of starting them costs.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontFilter, NGramsDecontIndexer
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter

BANDS, ROWS, SHINGLE_WORDS = 14, 8, 5
DECONTAMINATION = NGramsDecontConfig(n_grams=13)
ALPHABETIC = 0.5
"""Words are spaCy's here, marks among them. Of such words the paper's 0.8 would reject four in five of the documents;
this rejects about as many as 0.8 does of words that blanks part."""


class Index(NGramsDecontIndexer):
    """The index of a file of items. The class itself loads the sets of lighteval, which are not wanted here."""

    @staticmethod
    def write(items: Path, folder: Path) -> None:
        index = object.__new__(Index)
        index.__init__(str(folder), config=DECONTAMINATION)
        texts = (json.loads(line)["text"] for line in items.open())
        hashes = {each for text in texts for each in index.compute_hashes(text)}
        folder.mkdir()
        # As the class writes it: 64-bit hashes, one after the other.
        (folder / "exam.index.hashes").write_bytes(b"".join(each.to_bytes(8, "little") for each in hashes))


def main(folder: Path, num_cores: int) -> None:
    config = MinhashConfig(n_grams=SHINGLE_WORDS, num_buckets=BANDS, hashes_per_bucket=ROWS)
    filtered, signatures, pairs, removed = (str(folder / name) for name in ("filtered", "signatures", "pairs", "gone"))
    Index.write(folder / "exam.jsonl", folder / "index")
    cleaning = [
        JsonlReader(str(folder / "documents")),
        GopherRepetitionFilter(),
        GopherQualityFilter(max_non_alpha_words_ratio=ALPHABETIC),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(char_duplicates_ratio=0.1, new_line_ratio=math.inf),
        NGramsDecontFilter(str(folder / "index"), DECONTAMINATION),
        PIIFormatter(),
        JsonlWriter(filtered, compression=None),
        MinhashDedupSignature(signatures, config),
    ]
    writing = [
        JsonlReader(filtered),
        MinhashDedupFilter(removed),
        JsonlWriter(str(folder / "kept"), compression=None),
    ]
    execute(folder / "logs" / "cleaning", cleaning, num_cores, num_cores)
    execute(folder / "logs" / "buckets", [MinhashDedupBuckets(signatures, pairs, config=config)], BANDS, num_cores)
    execute(folder / "logs" / "clusters", [MinhashDedupCluster(pairs, removed, config=config)], 1, 1)
    execute(folder / "logs" / "writing", writing, num_cores, num_cores)


def execute(logs: Path, pipeline: list[Any], num_tasks: int, num_cores: int) -> None:
    LocalPipelineExecutor(
        pipeline, tasks=num_tasks, workers=num_cores, logging_dir=str(logs), start_method="fork"
    ).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
