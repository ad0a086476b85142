"""What an engine is asked for: work on batches, named so that any process can find it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
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


class Aside(Protocol):
    """Work that is prepared, or being prepared, beside other work."""

    def check(self) -> None:
        """See if preparing has failed, without waiting for its end.

        Raises:
            ForgeError: it has.
        """

    def __call__(self, batch: Any, /) -> Any:
        """Do the work on a batch, as soon as it is prepared, and return the result.

        Raises:
            ForgeError: see `Engine.map_batches`.
        """


class Engine(Protocol):
    """Runs work on batches. Batches and results are values that can be pickled between processes of one stage."""

    def map_batches(self, work: Work, batches: Iterable[Sequence[Any]], *, few: bool = False) -> Iterator[Any]:
        """Yield the result of each batch, in the order of the batches, a bounded number of which are in hand.

        The result of an empty batch is an empty list.

        Args:
            work: what is done.
            batches: what it is done on.
            few: whether little is expected to come, so that it may not be worth many processes.

        Raises:
            ForgeError: the work itself said so; or, as a `PlatformError`, a process ended before its work did.
        """

    def aside(self, work: Work, *, here: bool = False) -> AbstractContextManager[Aside]:
        """Prepare work that is to be done later, beside what is done meanwhile; it ends with the context.

        Args:
            work: what takes long to prepare.
            here: prepare it now and in this process: what is done meanwhile is not worth a process.

        Raises:
            ForgeError: see `map_batches`; what fails elsewhere is told by the `Aside`.
        """
