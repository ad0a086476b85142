"""All finders together: which kinds are sought in a text, and what is found of them."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain

from forge_pipelines.corpus.personal.birth_dates import find_birth_dates
from forge_pipelines.corpus.personal.config import PersonalDataConfig
from forge_pipelines.corpus.personal.credentials import find_api_keys, find_jwts, find_private_keys
from forge_pipelines.corpus.personal.emails import find_emails
from forge_pipelines.corpus.personal.findings import Found, Kind, resolve
from forge_pipelines.corpus.personal.ips import find_ips
from forge_pipelines.corpus.personal.names import NameFinder, load_names
from forge_pipelines.corpus.personal.national_ids import find_national_ids
from forge_pipelines.corpus.personal.payment import find_cards, find_ibans
from forge_pipelines.corpus.personal.phones import find_phones
from forge_pipelines.corpus.personal.searched import Searched

Finder = Callable[[Searched], Iterable[Found]]


class PersonalDataSearch:
    """Seeks what a configuration does not keep."""

    def __init__(self, config: PersonalDataConfig) -> None:
        """Prepare the finders.

        Raises:
            ConfigError: the folder of names cannot be used.
        """
        self._finders = [finder for kind, finder in _finders(config).items() if config.action(kind) != "keep"]
        self._finders += map(_of_text, load_names(config))

    def find(self, text: str) -> list[Found]:
        """Return what is found, in the order of the text, without overlaps (see `resolve`)."""
        searched = Searched(text)
        return resolve(chain.from_iterable(finder(searched) for finder in self._finders))


def _finders(config: PersonalDataConfig) -> Mapping[Kind, Finder]:
    return {
        Kind.PRIVATE_KEY: find_private_keys,
        Kind.JWT: find_jwts,
        Kind.API_KEY: find_api_keys,
        Kind.IBAN: find_ibans,
        Kind.CARD: find_cards,
        Kind.NATIONAL_ID: partial(find_national_ids, countries=config.countries),
        Kind.EMAIL: find_emails,
        Kind.IP: find_ips,
        Kind.BIRTH_DATE: find_birth_dates,
        Kind.PHONE: find_phones,
    }


def _of_text(names: NameFinder) -> Finder:
    return lambda searched: names.find(searched.text)
