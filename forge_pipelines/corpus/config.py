"""What a corpus's YAML may say."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from forge_pipelines.corpus.decontamination import Decontamination
from forge_pipelines.corpus.language import LanguageRule
from forge_pipelines.corpus.near_duplicates_config import NearDuplicatesConfig
from forge_pipelines.corpus.own_rules import OwnRule
from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.quality import QualityRules
from forge_pipelines.corpus.repeated_lines import RepeatedLinesRule
from forge_pipelines.corpus.terms import Terms
from forge_pipelines.manifest import Name, Value


class LengthBounds(Value):
    """How long a document may be, in characters of its canonical text."""

    min_characters: int = Field(50, ge=1, description="Shorter documents are rejected.")
    max_characters: int = Field(5_000_000, ge=1, description="Longer documents are rejected.")

    @model_validator(mode="after")
    def _ordered(self) -> "LengthBounds":
        if self.min_characters > self.max_characters:
            message = f"min_characters ({self.min_characters}) is above max_characters ({self.max_characters})"
            raise ValueError(message)
        return self


class Split(Value):
    """Which documents are held out of training. Decided by text alone, so it is stable when documents are added."""

    heldout_fraction: float = Field(0.02, gt=0, lt=1, description="Share of the documents held out for evaluation.")
    salt: str = Field("forge", description="Another salt draws another split.")


class SourceBounds(Value):
    """How much of a source must be left. A source of which nothing is left blocks whatever stands here."""

    min_documents: int = Field(1, ge=1, description="With fewer documents nothing is published.")
    min_share: float = Field(
        0.0, ge=0, le=1, description="With a smaller share of the documents that came in nothing is published."
    )
    warn_below: float = Field(0.05, ge=0, le=1, description="With a smaller share of the documents there is a warning.")


class Contributions(SourceBounds):
    """How much of each source must be left."""

    sources: Mapping[Name, SourceBounds] = Field(
        default_factory=dict, description="Bounds in place of all these for some sources, by name."
    )

    def of(self, source: Name) -> SourceBounds:
        """Return the bounds of a source."""
        return self.sources.get(source, self)


class Expectation(Value):
    """One Great Expectations expectation over the per-document table."""

    type: str = Field(description="Expectation type, for example `expect_column_values_to_not_be_null`.")
    kwargs: Mapping[str, Any] = Field(default_factory=dict, description="The expectation's arguments.")
    severity: Literal["error", "warning"] = Field("error", description="An error blocks; a warning shows.")

    @field_validator("kwargs")
    @classmethod
    def _without_what_stands_elsewhere(cls, kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
        if "severity" in kwargs:
            raise ValueError("severity (error or warning) stands beside kwargs, not in it")
        if "id" in kwargs:
            raise ValueError("id is not for kwargs: Great Expectations gives it")
        return kwargs


class CorpusConfig(Value):
    """Documents of one or more sources, cleaned, deduplicated, split and held to expectations."""

    name: Name = Field(description="The corpus's name; its asset is `<name>/validated_corpus`.")
    description: str = Field("", description="One sentence for the web UI.")
    sources: tuple[Name, ...] = Field(min_length=1, description="Names of the sources, in order of preference.")
    terms: Terms = Field(
        default_factory=Terms, description="Licences, purposes and expiry dates that documents must meet."
    )
    languages: LanguageRule | None = Field(None, description="Languages that are allowed. Default: all.")
    repeated_lines: RepeatedLinesRule | None = Field(
        None,
        description="Lines that repeat across a source are left out: `{}` for the usual bounds. Default: they stay.",
    )
    length: LengthBounds = Field(default_factory=LengthBounds, description="Bounds on a document's length.")
    quality: QualityRules | None = Field(
        None, description="The published rules for prose: `{}` for all with their thresholds. Default: none is applied."
    )
    rules: tuple[OwnRule, ...] = Field((), description="Rules of one's own, each a Python function.")
    decontamination: Decontamination | None = Field(
        None, description="Evaluation sets that no document may hold. Default: none is looked for."
    )
    personal_data: PersonalDataConfig | None = Field(
        default_factory=PersonalDataConfig,
        description="What becomes of personal data and secrets, by kind. Default: placeholders; null: they stay.",
    )
    near_duplicates: NearDuplicatesConfig = Field(
        default_factory=NearDuplicatesConfig, description="What is a near-copy, and which one is kept."
    )
    split: Split = Field(default_factory=Split, description="The held-out part.")
    contributions: Contributions = Field(
        default_factory=Contributions, description="How much of each source must be left."
    )
    expectations: tuple[Expectation, ...] = Field((), description="What must hold over the per-document table.")

    @field_validator("sources")
    @classmethod
    def _each_once(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(sources)) < len(sources):
            raise ValueError(f"a source is named twice in {', '.join(sources)}")
        return sources

    @model_validator(mode="after")
    def _bounds_of_its_own_sources(self) -> "CorpusConfig":
        for source in self.contributions.sources:
            if source not in self.sources:
                message = f"contributions.sources names {source}; the corpus is made from {', '.join(self.sources)}"
                raise ValueError(message)
        return self

    @property
    def decontaminated_against(self) -> tuple[Name, ...]:
        """The corpora whose held-out documents it does not hold."""
        return () if self.decontamination is None else self.decontamination.corpora
