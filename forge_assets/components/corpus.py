"""`forge_assets.components.Corpus`: documents of some sources → the asset `<name>/validated_corpus`."""

from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar

import dagster as dg

from forge_assets.attempts import attempt
from forge_assets.checks import expectation_checks
from forge_assets.components.base import CPU_POOL, TemplateScaffolder, YamlComponent, all_of, named_file, require_names
from forge_assets.components.source import Source, owners_of
from forge_assets.metadata import describe_corpus, materialization
from forge_assets.progress import watch
from forge_assets.resources import StoreResource
from forge_pipelines.corpus.config import CorpusConfig
from forge_pipelines.corpus.evaluation_sets_config import check_rings
from forge_pipelines.corpus.stage import CODE_VERSION, check_corpus, validate
from forge_pipelines.sources.config import SourceConfig


class CorpusScaffolder(TemplateScaffolder):
    """The file that `dg scaffold defs forge_assets.components.Corpus` writes."""

    template = """\
  name: NAME
  description: What this corpus is for.
  sources: [FILL-IN]                 # names of sources, in order of preference
  length: {min_characters: 50}
  # languages: {allowed: [en, de]}   # ISO 639-1; others are rejected
  # quality: {c4: null}              # the published rules for prose: Gopher, FineWeb and, left out here, C4
  # repeated_lines: {}               # headers and footers that stand in many documents of a source go
  # decontamination: {evaluation_sets: [{corpus: prose}]}   # what a model of this corpus is measured on stays out
  # rules: [{rule: "my_package.rules:no_drafts"}]   # a function of your own: (document) -> a reason to reject, or None
  personal_data: {}                  # placeholders for e-mail, phone, IBAN, keys …; by kind: redact, reject or keep
  split: {heldout_fraction: 0.02}    # the share of the documents that evaluation is made on
  expectations:                      # any Great Expectations expectation over the per-document table
    - type: expect_column_values_to_not_be_null
      kwargs: {column: licence}
"""


@dg.scaffold_with(CorpusScaffolder)
class Corpus(YamlComponent[CorpusConfig]):
    """Documents of one or more sources: cleaned, without near-copies, split, and held to Great Expectations."""

    config_class: ClassVar[type[CorpusConfig]] = CorpusConfig

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Declare the asset ``<name>/validated_corpus`` and its checks.

        Raises:
            ConfigError: a source, a corpus, a kind of expectation, a rule of one's own or an evaluation set that does
                not exist; or corpora that name each other's held-out documents.
        """
        config = self.config
        require_names(config.sources, Source, "source", context)
        require_names(config.decontaminated_against, Corpus, "corpus", context)
        with named_file(context):
            check_rings(config.name, decontaminated_against(None, context))
            check_corpus(config)
        key = dg.AssetKey([config.name, "validated_corpus"])

        @dg.asset(
            key=key,
            deps=[
                *([source, "raw_documents"] for source in config.sources),
                *([corpus, "validated_corpus"] for corpus in config.decontaminated_against),
            ],
            group_name=config.name,
            owners=sorted({owner for source in sources_of([config.name], context) for owner in owners_of(source)}),
            kinds={"great_expectations", "parquet"},
            description=config.description or f"The corpus {config.name}: clean, without copies, split, validated.",
            pool=CPU_POOL,
            code_version=CODE_VERSION,
            check_specs=[
                dg.AssetCheckSpec("expectations", asset=key, blocking=True, description="Expectations that block."),
                dg.AssetCheckSpec(
                    "warnings", asset=key, description="Expectations that warn, and what is left of sources."
                ),
            ],
        )
        def validated_corpus(context: dg.AssetExecutionContext, forge_store: StoreResource) -> dg.MaterializeResult:
            store = forge_store.open()
            with attempt(context):
                sources = [store.latest(source, "raw_documents") for source in config.sources]
                held_out = [store.latest(corpus, "validated_corpus") for corpus in config.decontaminated_against]
                publication = validate(config, sources, store, watch(context), held_out=held_out)
                folder = store.open(publication.manifest)
                metadata = describe_corpus(folder, publication.manifest)
                return materialization(publication, store, metadata, expectation_checks(folder))

        return dg.Definitions(assets=[validated_corpus])


def decontaminated_against(
    corpora: Collection[str] | None, context: dg.ComponentLoadContext
) -> Mapping[str, Collection[str]]:
    """Return for each of the named corpora, or of all, those whose held-out documents it does not hold."""
    found = (corpus.config for corpus in all_of(Corpus, context))
    return {each.name: each.decontaminated_against for each in found if corpora is None or each.name in corpora}


def sources_of(corpora: Iterable[str], context: dg.ComponentLoadContext) -> list[SourceConfig]:
    """Return the configurations of the sources that the named corpora are made from, sorted by name."""
    wanted = set(corpora)
    names = {
        source for corpus in all_of(Corpus, context) if corpus.config.name in wanted for source in corpus.config.sources
    }
    found = (source.config for source in all_of(Source, context))
    return sorted((source for source in found if source.name in names), key=lambda source: source.name)
