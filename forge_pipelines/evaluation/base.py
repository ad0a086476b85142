"""What a checkpoint is compared with: the open model that it was adapted from, or its network before training."""

from dataclasses import dataclass

from forge_pipelines.bases.stage import ROLE, base_of
from forge_pipelines.manifest import Manifest
from forge_pipelines.store import Store


@dataclass(frozen=True, slots=True)
class Base:
    """The other side of every comparison.

    Attributes:
        manifest: the open model, a ``base_model``; None for the network that ``config.json`` and the seed give.
        seed: the recipe's seed.
    """

    manifest: Manifest | None
    seed: int

    @property
    def name(self) -> str | None:
        """The open model's name, or None."""
        return self.manifest.name if self.manifest else None

    @property
    def title(self) -> str:
        """What it is, in words."""
        if self.manifest:
            return f"the open model {self.manifest.name} ({self.manifest.fingerprint[:12]})"
        return f"the same network before training (seed {self.seed})"

    @property
    def inputs(self) -> dict[str, str]:
        """Its fingerprint by role, as a request names it."""
        return {f"{ROLE}{self.manifest.name}": self.manifest.fingerprint} if self.manifest else {}


def find_base(checkpoint: Manifest, store: Store) -> Base:
    """Return what a checkpoint is compared with, as its own manifest says.

    Raises:
        DataError: the open model that it was adapted from is not in the store.
    """
    return Base(base_of(checkpoint, store), seed=int(checkpoint.parameters["seed"]))
