import time

import pytest
from documents_in_memory import document

from forge_pipelines.corpus.mojibake import repaired
from forge_pipelines.corpus.normalize import normalize

SOUND = [
    "L'été, l'usine « Étoile » a fermé – où l’on élève des bœufs. Déjà… 12 €",
    "„Spaß“ ist groß, und Übung macht’s: 20 °C ± 1 °C",
    "NÃO É SÃO TOMÉ – ÇÃO",
    "Съешь же ещё этих мягких французских булок — «хорошо»",
    "阀门在七圈后关闭。😀",
    "10 Ã 20",
]


@pytest.mark.parametrize("text", SOUND)
def test_sound_text_is_left_as_it_is(text: str) -> None:
    assert repaired(text) == text


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
@pytest.mark.parametrize("text", ["Café", "Größe", "½ Zoll", "naïve", "señor", "źródło", "Привет"])
def test_utf_8_that_was_read_as_another_encoding_is_put_right(text: str, encoding: str) -> None:
    broken = text.encode().decode(encoding)
    assert broken != text
    assert repaired(f"good line\n{broken}\nénd") == f"good line\n{text}\nénd"


def test_quotation_marks_of_windows_are_put_right() -> None:
    assert repaired("\x93Close it\x94, he said. It\x92s done.") == "“Close it”, he said. It’s done."
    assert repaired("It doesnâ€™t matter") == "It doesn’t matter"


def test_normalising_repairs_prose_and_leaves_code_and_tables() -> None:
    broken = "CafÃ©"
    prose, code, table = normalize([document("s", uri, broken) for uri in ("a.md", "a.py", "a.tsv")]).kept
    assert (prose.text, code.text, table.text) == ("Café", broken, broken)


def test_long_sound_text_takes_little_time() -> None:
    long = "\n".join(SOUND).replace("„Spaß“", "Spaß") * 10_000
    started = time.process_time()
    assert repaired(long) == long
    assert len(long) / (time.process_time() - started) > 2_000_000
