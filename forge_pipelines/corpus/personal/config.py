"""What a corpus's YAML may say about personal data and secrets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from forge_pipelines.corpus.personal.findings import Kind
from forge_pipelines.manifest import Value

Action = Literal["redact", "reject", "keep"]
"""``redact``: a placeholder takes its place; ``reject``: the document is rejected; ``keep``: it is not sought."""

Country = Literal["BE", "CH", "DE", "ES", "FR", "GB", "IT", "NL", "PL", "PT", "SE", "US"]

_COUNTRIES: tuple[Country, ...] = ("BE", "CH", "DE", "ES", "FR", "GB", "IT", "NL", "PL", "PT", "SE", "US")


class PersonalDataConfig(Value):
    """What becomes of personal data and secrets, by kind: redact, reject or keep."""

    email: Action = Field("redact", description="E-mail addresses.")
    phone: Action = Field("redact", description="Telephone numbers: international, and US, GB, DE, FR, ES, IT.")
    iban: Action = Field("redact", description="Bank accounts (IBAN), by country, length and check digits.")
    card: Action = Field("redact", description="Payment cards, by network, length and check digit.")
    ip: Action = Field("redact", description="IP addresses, versions 4 and 6.")
    national_id: Action = Field("redact", description="Numbers that states give to persons; see countries.")
    birth_date: Action = Field("redact", description="Dates near a word of birth.")
    api_key: Action = Field("redact", description="Keys and tokens of services, and passwords in addresses.")
    private_key: Action = Field("redact", description="Private keys in PEM.")
    jwt: Action = Field("redact", description="JSON web tokens.")
    name: Action = Field("redact", description="Names of persons, where names_model finds them.")
    address: Action = Field("redact", description="Postal addresses, where names_model finds them.")
    countries: tuple[Country, ...] = Field(_COUNTRIES, description="Countries whose national_id numbers are sought.")
    names_model: Path | None = Field(
        None,
        description="A folder of the site's own: names.txt, a name a line; or a token classifier of transformers, "
        "config.json, model.safetensors and tokenizer.json; or both.",
    )
    names_labels: Mapping[str, Literal["name", "address"]] | None = Field(
        None,
        min_length=1,
        description="What a classifier's labels mean, without B- and I-, for example `{PER: name, LOC: address}`; "
        "other labels stay. Default: the usual labels of persons and addresses; plain places (LOC, CITY) stay.",
    )

    @model_validator(mode="after")
    def _labels_are_of_a_model(self) -> "PersonalDataConfig":
        if self.names_labels is not None and self.names_model is None:
            raise ValueError("names_labels says what the labels of names_model mean; give names_model, too")
        return self

    def action(self, kind: Kind) -> Action:
        """Return what becomes of a kind."""
        action: Action = getattr(self, kind.value)
        return action
