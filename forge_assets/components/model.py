"""`forge_assets.components.Model`: corpora → shards → checkpoint → report → a registered model."""

from typing import ClassVar, Self

import dagster as dg
from pydantic import Field, model_validator

from forge_assets.attempts import attempt
from forge_assets.automation.config import RetrainConfig
from forge_assets.automation.retrain import retraining
from forge_assets.automation.runs import run_tags, tag_version
from forge_assets.checks import checkpoint_checks, report_checks, shard_checks
from forge_assets.components.base import CPU_POOL, TemplateScaffolder, YamlComponent, named_file, require_names
from forge_assets.components.corpus import Corpus, decontaminated_against, sources_of
from forge_assets.metadata import (
    describe_checkpoint,
    describe_registration,
    describe_report,
    describe_shards,
    materialization,
)
from forge_assets.progress import observe, watch
from forge_assets.resources import MachineResource, RegistryResource, StoreResource
from forge_pipelines.bases.stage import latest_base
from forge_pipelines.evaluation import stage as evaluation
from forge_pipelines.evaluation.config import EvaluationConfig, check_decontaminated, check_general
from forge_pipelines.evaluation.report import metrics_of
from forge_pipelines.manifest import Name, Value
from forge_pipelines.registry import stage as registry
from forge_pipelines.registry.config import RegistrationConfig
from forge_pipelines.registry.gates import check_gates
from forge_pipelines.shards import stage as shards
from forge_pipelines.shards.config import ShardsConfig
from forge_pipelines.training import stage as training
from forge_pipelines.training.config import TrainingConfig
from forge_pipelines.training.kept import model_alone


class ModelConfig(Value):
    """A model: one block of parameters for each of its four stages."""

    name: Name = Field(description="The model's name; its assets are `<name>/tokenized_shards` and so on.")
    description: str = Field("", description="What the model is for.")
    owners: tuple[str, ...] = Field((), description="E-mail addresses, or teams as `team:name`.")
    base: Name | None = Field(
        None, description="The open model to adapt, as `forge import-base` named it. Default: training from scratch."
    )
    shards: ShardsConfig = Field(description="Corpora, tokenizer and sequences.")
    training: TrainingConfig = Field(description="The recipe.")
    evaluation: EvaluationConfig = Field(default_factory=EvaluationConfig, description="On what it is measured.")
    registration: RegistrationConfig = Field(
        default_factory=RegistrationConfig, description="What it must show before it is registered."
    )
    retrain: RetrainConfig = Field(default_factory=RetrainConfig, description="When it is made again by itself.")

    @model_validator(mode="after")
    def _either_base_or_scratch(self) -> Self:
        objective = self.training.objective
        if self.base is None and objective not in {None, "pretrain"}:
            raise ValueError(f"{objective} goes on from an open model; name it as `base`")
        if self.base is None and self.training.architecture is None:
            raise ValueError("a model needs a `base` to adapt, or a `training.architecture` to train from scratch")
        if self.base is not None and self.training.architecture is not None:
            raise ValueError(f"the base {self.base} has an architecture of its own; remove `training.architecture`")
        if self.base is not None and "tokenizer" in self.shards.model_fields_set:
            raise ValueError(f"the base {self.base} has a tokenizer of its own; remove `shards.tokenizer`")
        return self


class ModelScaffolder(TemplateScaffolder):
    """The file that `dg scaffold defs forge_assets.components.Model` writes."""

    template = """\
  name: NAME
  description: FILL-IN               # what the model is for
  shards:
    corpora:
      - corpus: FILL-IN              # the name of a corpus
    tokenizer: {vocabulary_size: 4096}
    sequence_length: 256
  training:
    architecture:                    # any allowed architecture, as transformers writes its configuration
      model_type: mistral
      hidden_size: 128
      intermediate_size: 384
      num_hidden_layers: 4
      num_attention_heads: 4
      num_key_value_heads: 2
    steps: 300
    batch_sequences: 8
    learning_rate: 0.001
  registration:
    gates: ["heldout/bits_per_character < base"]
"""


@dg.scaffold_with(ModelScaffolder)
class Model(YamlComponent[ModelConfig]):
    """A model trained on some corpora, measured beside its base, and registered when it passes its gates."""

    config_class: ClassVar[type[ModelConfig]] = ModelConfig

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Declare the model's four assets, a job that makes them with all that they are made from, and what starts it.

        Raises:
            ConfigError: an unknown corpus, general text that is or may be trained on, a gate on a metric of no suite.
        """
        config = self.config
        corpora = [share.corpus for share in config.shards.shares]
        require_names([*corpora, *config.evaluation.general], Corpus, "corpus", context)
        with named_file(context):
            check_general(config.evaluation.general, corpora)
            check_decontaminated(config.name, config.evaluation.general, decontaminated_against(corpora, context))
            check_gates(config.registration.gates, metrics_of(config.evaluation, config.training.examples))
        registered = self._registered_model()
        job = dg.define_asset_job(
            config.name,
            selection=dg.AssetSelection.assets(registered).upstream(),
            tags=run_tags(config.name, "by hand"),
            description=f"Makes {config.name}, and all that it is made from. {config.description}",
        )
        assets = [self._tokenized_shards(), self._trained_checkpoint(), self._evaluation_report(), registered]
        return retraining(config.name, config.retrain, assets, job, sources_of(corpora, context))

    def _key(self, stage: str) -> dg.AssetKey:
        return dg.AssetKey([self.config.name, stage])

    def _tokenized_shards(self) -> dg.AssetsDefinition:
        config, key = self.config, self._key("tokenized_shards")
        names = [share.corpus for share in config.shards.shares]

        @dg.asset(
            key=key,
            deps=[[corpus, "validated_corpus"] for corpus in names],
            group_name=config.name,
            owners=list(config.owners),
            kinds={"arrow"},
            description="Sequences of token ids, or pairs of answers, and which document stands where in them.",
            pool=CPU_POOL,
            code_version=shards.CODE_VERSION,
            check_specs=[dg.AssetCheckSpec("trainable_tokens", asset=key, blocking=True)],
        )
        def tokenized_shards(context: dg.AssetExecutionContext, forge_store: StoreResource) -> dg.MaterializeResult:
            store = forge_store.open()
            with attempt(context):
                corpora = {corpus: store.latest(corpus, "validated_corpus") for corpus in names}
                base = latest_base(config.base, store) if config.base else None
                publication = shards.shard(
                    config.name, corpora, config.shards, store, watch(context), base, config.training.examples
                )
                manifest = publication.manifest
                checks = shard_checks(manifest, config.shards.optional_sources)
                return materialization(publication, store, describe_shards(store.open(manifest), manifest), checks)

        return tokenized_shards

    def _trained_checkpoint(self) -> dg.AssetsDefinition:
        config, key = self.config, self._key("trained_checkpoint")

        @dg.asset(
            key=key,
            deps=[self._key("tokenized_shards")],
            group_name=config.name,
            owners=list(config.owners),
            kinds={"deepspeed", "pytorch", "safetensors"},
            description=f"Weights trained by DeepSpeed. {config.description}",
            code_version=training.CODE_VERSION,
            op_tags=config.training.gpus.tags(),
            check_specs=[
                dg.AssetCheckSpec("finite_loss", asset=key, blocking=True),
                dg.AssetCheckSpec("weights_load", asset=key, blocking=True),
            ],
        )
        def trained_checkpoint(
            context: dg.AssetExecutionContext,
            forge_store: StoreResource,
            forge_machine: MachineResource,
            forge_registry: RegistryResource,
        ) -> dg.MaterializeResult:
            store = forge_store.open()
            with attempt(context), forge_machine.leased(config.training.gpus, context) as machine:
                made_from = store.latest(config.name, "tokenized_shards")
                request = training.training_request(config.name, made_from, config.training)
                with forge_registry.curves(request) as draw:
                    publication = training.train(
                        config.name,
                        made_from,
                        config.training,
                        store,
                        machine.training(),
                        watch(context, draw, observe(context)),
                    )
                folder = store.open(model_alone(publication.manifest))
                metadata = describe_checkpoint(folder, publication.manifest)
                return materialization(publication, store, metadata, checkpoint_checks(folder))

        return trained_checkpoint

    def _evaluation_report(self) -> dg.AssetsDefinition:
        config, key = self.config, self._key("evaluation_report")
        names = [*(share.corpus for share in config.shards.shares), *config.evaluation.general]

        @dg.asset(
            key=key,
            deps=[self._key("trained_checkpoint"), *([corpus, "validated_corpus"] for corpus in names)],
            group_name=config.name,
            owners=list(config.owners),
            kinds={"pytorch", "report"},
            description="How good the checkpoint is beside its base, document by document, with intervals.",
            code_version=evaluation.CODE_VERSION,
            op_tags=config.evaluation.gpus.tags(),
            check_specs=[
                dg.AssetCheckSpec("finite_scores", asset=key, blocking=True),
                dg.AssetCheckSpec("gates", asset=key, description="The verdict that registration will enforce."),
            ],
        )
        def evaluation_report(
            context: dg.AssetExecutionContext, forge_store: StoreResource, forge_machine: MachineResource
        ) -> dg.MaterializeResult:
            store = forge_store.open()
            with attempt(context), forge_machine.leased(config.evaluation.gpus, context) as machine:
                checkpoint = store.latest(config.name, "trained_checkpoint")
                corpora = {corpus: store.latest(corpus, "validated_corpus") for corpus in names}
                where, told = machine.evaluation(), watch(context)
                publication = evaluation.evaluate(
                    config.name, checkpoint, corpora, config.evaluation, store, where, told
                )
                folder = store.open(publication.manifest)
                checks = report_checks(folder, config.registration.gates)
                return materialization(publication, store, describe_report(folder, publication.manifest), checks)

        return evaluation_report

    def _registered_model(self) -> dg.AssetsDefinition:
        config = self.config

        @dg.asset(
            key=self._key("registered_model"),
            deps=[self._key("evaluation_report")],
            group_name=config.name,
            owners=list(config.owners),
            kinds={"mlflow"},
            description="The MLflow model version, with its card, its lineage and its hashes.",
            code_version=registry.CODE_VERSION,
        )
        def registered_model(
            context: dg.AssetExecutionContext, forge_store: StoreResource, forge_registry: RegistryResource
        ) -> dg.MaterializeResult:
            store = forge_store.open()
            with attempt(context):
                report = store.latest(config.name, "evaluation_report")
                publication = registry.register(
                    config.name, report, config.registration, store, forge_registry.open(), watch(context)
                )
                tag_version(context, publication.manifest.counts["version"])
                return materialization(publication, store, describe_registration(store.open(publication.manifest)))

        return registered_model
