"""`python forge_once.py JOB`: makes a corpus by Forge, as a JSON file says, and prints what each stage took.

The file has `store`, a folder; `corpus`, the corpus's fields; and either `source`, the fields of a source to read, or
`manifest`, that of a published one.
"""

import json
import sys
import time
from pathlib import Path

from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.stage import validate
from forge_pipelines.manifest import Manifest
from forge_pipelines.sources.config import SourceConfig
from forge_pipelines.sources.stage import read_source
from forge_pipelines.store import Publication, Store


def main(job: Path) -> None:
    asked = json.loads(job.read_text())
    store = Store(f"{asked['store']}/published", Path(asked["store"], "scratch"))
    made: dict[str, Publication] = {}
    started = time.monotonic()
    if "source" in asked:
        made["source"] = read_source(SourceConfig.model_validate(asked["source"]), store)
        source = made["source"].manifest
    else:
        source = Manifest.model_validate(asked["manifest"])
    read = time.monotonic()
    made["corpus"] = validate(CorpusConfig.model_validate(asked["corpus"]), [source], store)
    print(
        json.dumps(
            {
                "source_seconds": read - started,
                "corpus_seconds": time.monotonic() - read,
                "worked": [stage for stage, publication in made.items() if publication.fresh],
                "documents": source.counts["documents"],
                "corpus": made["corpus"].manifest.model_dump(mode="json"),
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
