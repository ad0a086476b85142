"""The stage `validated_corpus`: documents of one or more sources in, a corpus that holds to its expectations out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

from forge_pipelines.corpus.batches import DOCUMENTS
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.evaluation_sets import check_evaluation_sets, evaluation_set_hashes
from forge_pipelines.corpus.expectations import check_expectations
from forge_pipelines.corpus.making import Making
from forge_pipelines.corpus.own_rules import code_version_of, load_rules
from forge_pipelines.corpus.personal.names import check_names, names_version
from forge_pipelines.corpus.reading import HELDOUT_ROLE
from forge_pipelines.corpus.steps import STAGE
from forge_pipelines.corpus.terms import last_expiry
from forge_pipelines.engine.local import LocalEngine
from forge_pipelines.engine.work import Engine
from forge_pipelines.manifest import Manifest, StageRequest, code_version
from forge_pipelines.progress import OnProgress, Progress, silent
from forge_pipelines.staging import alone_in, full_disk_named
from forge_pipelines.store import Made, Publication, Store
from forge_pipelines.tables import read_labels

CODE_VERSION = "4"
_LIBRARIES = ("ftfy", "great-expectations", "numpy", "packaging", "py3langid", "pyarrow", "rensa")


def validate(
    config: CorpusConfig,
    sources: Sequence[Manifest],
    store: Store,
    on_progress: OnProgress = silent,
    engine: Engine | None = None,
    today: date | None = None,
    held_out: Sequence[Manifest] = (),
) -> Publication:
    """Publish a corpus: clean the sources' documents, split them, and hold the result to its expectations.

    Args:
        config: the corpus.
        sources: the `raw_documents` manifests of the sources that it names, in any order.
        store: where the manifests are, and where the corpus is published.
        on_progress: is told what is being done, and each expectation of severity ``warning`` that does not hold.
        engine: where batches are cleaned; by default the processes of this machine.
        today: the day in UTC on which documents have expired or not; by default the clock's.
        held_out: the `validated_corpus` manifests of the corpora that are named among its evaluation sets.

    Raises:
        ConfigError: an expectation is unknown, is given wrong arguments, or cannot be computed; a rule of one's own, an
            evaluation set or a folder of names cannot be used.
        DataError: too little is left of a source, or nothing of a part of the split; or an expectation does not hold.
    """
    assert {manifest.name for manifest in sources} == set(config.sources), "a manifest for each source of the corpus"
    assert {manifest.name for manifest in held_out} == set(config.decontaminated_against), "and of each corpus"
    check_corpus(config)
    expired_by = _expired_by(config, sources, store, today or datetime.now(UTC).date())
    files = _files_named(config, held_out)
    request = StageRequest(
        kind=STAGE,
        name=config.name,
        inputs={
            **{manifest.name: manifest.fingerprint for manifest in sources},
            **{f"{HELDOUT_ROLE}{manifest.name}": manifest.fingerprint for manifest in held_out},
        },
        parameters={
            **config.model_dump(mode="json", exclude={"name", "description"}),
            **({"expired_by": expired_by.isoformat()} if expired_by else {}),
            "files": files,
        },
        code_version=code_version(f"{CODE_VERSION}{code_version_of(config.rules)}", *_LIBRARIES),
    )

    def make(folder: Path) -> Made:
        memory = store.memory(config.name, STAGE)
        making = Making(
            config=config,
            sources=sources,
            held_out=held_out,
            store=store,
            engine=engine or LocalEngine(),
            on_progress=on_progress,
            code_version=request.code_version,
            files=files,
            memory=memory,
            expired_by=expired_by,
        )
        waiting = Progress(config.name, message=f"{config.name}: another run makes it; waiting for its end")
        with alone_in(memory, partial(on_progress, waiting)), full_disk_named(f"{config.name}/{STAGE}", memory):
            return making(folder)

    return store.obtain(request, make)


def check_corpus(config: CorpusConfig) -> None:
    """Check what a corpus's YAML names, in milliseconds: done when definitions load.

    Raises:
        ConfigError: Great Expectations has no such expectation or the table no such column; or a rule of one's own
            cannot be imported or called as told; or an evaluation set is not there; or a folder of names
            cannot be used.
    """
    check_expectations(config)
    load_rules(config.rules)
    check_names(config.personal_data)
    if config.decontamination is not None:
        check_evaluation_sets(config.decontamination.evaluation_sets)


def _files_named(config: CorpusConfig, held_out: Sequence[Manifest]) -> Mapping[str, str]:
    """Return the hashes of the files of the site's own that shape the corpus."""
    sought, personal = config.decontamination, config.personal_data
    others = {manifest.name: manifest for manifest in held_out}
    hashes = {} if sought is None else dict(evaluation_set_hashes(sought.evaluation_sets, others))
    if personal is not None and personal.names_model is not None:
        hashes["names_model"] = names_version(personal.names_model)
    return hashes


def _expired_by(config: CorpusConfig, sources: Sequence[Manifest], store: Store, today: date) -> date | None:
    if not config.terms.reject_expired:
        return None
    expiring = (manifest for manifest in sources if manifest.counts.get("expiring", 1))
    files = (store.open(manifest) / DOCUMENTS for manifest in expiring)
    return last_expiry((row["expires_at"] for file in files for row in read_labels(file)), today)
