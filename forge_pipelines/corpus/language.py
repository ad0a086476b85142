"""Documents in languages that the corpus does not want."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import AfterValidator, Field

from forge_pipelines.corpus.normalize import blanks_matter
from forge_pipelines.corpus.steps import Outcome, reject
from forge_pipelines.manifest import Document, Rejection, Value
from forge_pipelines.sources.readers.language import language_of

RULE = "language"

_ISO_639_1 = """
aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en
eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv
ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne
ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st
su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
"""
_LONGER = "ace ary arz bcl crh ext fuv gcf gcr gom grc gug guw hbo kab kik lij ltg nso pcm sdh uzs vec wuu yue zxx"
CODES = frozenset([*_ISO_639_1.split(), *_LONGER.split()])
"""The codes of ISO 639-1, and the longer ones that py3langid gives; of these, `zxx` is no language at all."""


def _known(code: str) -> str:
    if code not in CODES:
        raise ValueError(f"{code!r} is no ISO 639-1 code of a language; write two small letters, such as en or de")
    return code


LanguageCode = Annotated[str, AfterValidator(_known)]
"""One of `CODES`."""


class LanguageRule(Value):
    """Which languages a corpus takes. Code and tables are in none, and pass."""

    allowed: tuple[LanguageCode, ...] = Field(min_length=1, description="ISO 639-1 codes, for example `[en, de]`.")
    judge_again: bool = Field(
        True, description="Judge the normalised text of documents whose source tells no language."
    )
    keep_unknown: bool = Field(True, description="Keep documents whose language is still not known.")


def keep_languages(documents: Sequence[Document], rule: LanguageRule) -> Outcome:
    """Reject documents in other languages than the allowed ones.

    A language is what the source told, or what py3langid (Barbaresi 2022, after langid.py, Lui and Baldwin 2012) says
    of the text's first 2,000 characters; of fewer than 50 characters it says nothing. What is judged is kept.
    """
    kept: list[Document] = []
    rejected: list[Rejection] = []
    for document in documents:
        judged = _judged(document) if rule.judge_again else document
        wanted = rule.keep_unknown if judged.language is None else judged.language in rule.allowed
        if wanted or blanks_matter(document.media_type):
            kept.append(judged)
        else:
            language = "an unknown language" if judged.language is None else f"language {judged.language}"
            rejected.append(reject(document, RULE, f"{language}, not one of {', '.join(rule.allowed)}"))
    return Outcome(kept, rejected)


def _judged(document: Document) -> Document:
    if document.language is not None or blanks_matter(document.media_type):
        return document
    return replace(document, language=language_of(document.text))
