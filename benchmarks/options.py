"""How much is measured, and where."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What each part is given.

    Attributes:
        folder: empty, on a real disk, removed at the end.
        repeats: how often each thing is measured.
        scale: 1 for figures to publish, less for a look; multiplies readings and seconds.
    """

    folder: Path
    repeats: int = 5
    scale: float = 1.0

    def scaled(self, count: int) -> int:
        """Return so many readings, or fewer for a look."""
        return max(1000, int(count * self.scale))
