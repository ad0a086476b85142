"""What is done again, a little later each time, when a place far away does not answer."""

import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from forge_pipelines.errors import PlatformError

WAITS_SECONDS = (0.5, 1.0, 2.0, 4.0)

Passing = Callable[[Exception], str | None]
"""Says in words, without any secret, what fails and passes by itself; None of an error that another try cannot mend."""

_LOG = logging.getLogger(__name__)
T = TypeVar("T")


def patiently(
    work: Callable[[], T], passing: Passing, what: str, waits_seconds: tuple[float, ...] = WAITS_SECONDS
) -> T:
    """Do something; where it fails in a way that passes by itself, do it again after each of the waits.

    Args:
        work: what may be done again.
        passing: which errors pass by themselves.
        what: who is asked, as a sentence begins.
        waits_seconds: between the tries.

    Raises:
        PlatformError: the last try failed too.
        Exception: of the first try that failed in another way.
    """

    def once() -> Iterator[T]:
        yield work()

    return next(steadily(once, passing, what, waits_seconds))


def steadily(
    go_on: Callable[[], Iterator[T]], passing: Passing, what: str, waits_seconds: tuple[float, ...] = WAITS_SECONDS
) -> Iterator[T]:
    """Yield what ``go_on`` yields; where it breaks in a way that passes by itself, call it again after a wait.

    Args:
        go_on: begins after what it has yielded before; with each value, the waits begin anew.
        passing: which errors pass by themselves.
        what: who is asked, as a sentence begins.
        waits_seconds: between the tries.

    Raises:
        PlatformError: the last try failed too.
        Exception: of the first try that failed in another way.
    """
    num_failed = 0
    while True:
        try:
            for value in go_on():
                yield value
                num_failed = 0
        except Exception as error:
            reason = passing(error)
            if reason is None:
                raise
        else:
            return
        if num_failed == len(waits_seconds):
            tries = f"after {num_failed + 1} tries" if num_failed else "at the first try"
            raise PlatformError(f"{what} does not answer, {tries}: {reason}; see that it runs, and ask again")
        wait_seconds = waits_seconds[num_failed]
        _LOG.warning("%s does not answer, and is asked again in %.1f s: %s", what, wait_seconds, reason)
        time.sleep(wait_seconds)
        num_failed += 1
