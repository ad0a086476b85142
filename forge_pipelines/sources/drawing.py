"""The picture of documents' lengths, drawn by a library that takes long to load: work that is prepared aside."""

from collections.abc import Callable, Sequence
from functools import partial

from forge_pipelines.engine.work import Work
from forge_pipelines.pictures import draw_lengths


def drawing() -> Work:
    """Return the work that turns lengths, in characters, into a picture, as PNG."""
    return Work(module=__name__, function=prepare.__name__, argument="")


def prepare(_: str) -> Callable[[Sequence[int]], bytes]:
    """Load the library."""
    import matplotlib.figure  # noqa: F401

    return partial(draw_lengths, image_format="png")
