"""Sets of images of which only the number and the first ids are kept."""

from dataclasses import dataclass, field

EXAMPLES = 3
"""Number of ids that a finding names."""


@dataclass
class Images:
    """A growing set of images, of which only the number and the first ids are kept.

    Attributes:
        count: number of images.
        examples: ids of the first :data:`EXAMPLES` images.
    """

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, sample: str) -> None:
        """Add an image by its id."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(sample)
