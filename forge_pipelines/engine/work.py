"""What an engine is asked for: work on batches, named so that any process can find it."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any, Protocol

from forge_pipelines.manifest import Value


class Work(Value):
    """Work that any process can prepare for itself.

    Attributes:
        module: where it is found.
        function: what prepares it there, of the argument: it returns what turns a batch into a result.
        argument: JSON.
    """

    module: str
    function: str
    argument: str

    def prepare(self) -> Callable[[Any], Any]:
        """Return what turns a batch into a result."""
        made: Callable[[Any], Any] = getattr(import_module(self.module), self.function)(self.argument)
        return made


class Engine(Protocol):
    """Runs work on batches. Batches and results are values that can be pickled between processes of one stage."""

    def map_batches(self, work: Work, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each batch, in the order of the batches, a bounded number of which are in hand.

        Raises:
            ForgeError: the work itself said so; or, as a `PlatformError`, a process ended before its work did.
        """
