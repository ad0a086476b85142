"""What is tried again, how often, and what is not."""

import logging
from collections.abc import Callable, Iterator

import pytest

from forge_pipelines.errors import PlatformError
from forge_pipelines.sources.places.patience import patiently, steadily


def passing(error: Exception) -> str | None:
    return "it is away" if isinstance(error, OSError) else None


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return work


def test_what_passes_by_itself_is_tried_again_and_said(caplog: pytest.LogCaptureFixture) -> None:
    assert patiently(failing(OSError("secret"), OSError()), passing, "the store", (0.0, 0.01)) == "done"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "the store does not answer, and is asked again in 0.0 s: it is away"
    ] * 2


def test_the_last_try_ends_it_with_one_sentence_and_no_error_of_a_library_behind_it() -> None:
    with pytest.raises(PlatformError) as failure:
        patiently(failing(*[OSError("secret")] * 3), passing, "the store", (0.0, 0.0))
    sentence = "the store does not answer, after 3 tries: it is away; see that it runs, and ask again"
    assert str(failure.value) == sentence
    assert failure.value.__context__ is failure.value.__cause__ is None


def test_what_no_other_try_can_mend_is_not_tried_again() -> None:
    work = failing(ValueError("wrong"), OSError())
    with pytest.raises(ValueError, match="wrong"):
        patiently(work, passing, "the store", (10.0,))
    with pytest.raises(OSError):
        work()


def test_the_waits_begin_anew_with_each_value() -> None:
    given: list[int] = []

    def go_on() -> Iterator[int]:
        if len(given) < 5:
            given.append(len(given))
            yield given[-1]
            raise OSError

    assert list(steadily(go_on, passing, "the store", (0.0,))) == [0, 1, 2, 3, 4]
