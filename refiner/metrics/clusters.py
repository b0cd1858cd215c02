"""Clusters of images that are alike, such as people, or the days of one person."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

CLUSTER_COLUMNS = ("subject", "day")
"""Label columns whose values are the clusters; the first one with two values or more is used."""


class Clusters(NamedTuple):
    """Clusters of the images of a data set.

    Attributes:
        names: cluster of each image; None puts each image into a cluster of its own.
        column: label column that forms the clusters; ``images`` if none does.
        size: number of clusters.
        scope: what an interval over the clusters holds for, such as ``this person only``, ``these 15 people only`` or
            ``images like these only``; None if whole people are in the clusters, so that it holds for other people,
            too.
    """

    names: Sequence[str] | None
    column: str
    size: int
    scope: str | None

    def __str__(self) -> str:
        over = f"{self.size} images" if self.names is None else f"{self.size} clusters by {self.column}"
        return f"{over}, for {self.scope}" if self.scope else over


def find_clusters(
    columns: Mapping[str, Sequence[str]], images: int, column: str | None = None, *, of_people: bool = True
) -> Clusters:
    """Find the clusters of images.

    People are clusters as wholes, because the days of one person are alike. Days are clusters for a single person only.

    Args:
        columns: labels as text, by the name of the column. Images without a value form one cluster.
        images: number of images.
        column: column that must be used, one of ``columns``; None takes one of :data:`CLUSTER_COLUMNS`.
        of_people: True if the images show people, for the words of the scope. A column ``subject`` says so, too.
    """
    chosen = column or next((name for name in CLUSTER_COLUMNS if len(set(columns.get(name, ()))) > 1), None)
    if chosen is None:
        scope = _scope(columns, [str(number) for number in range(images)], None, of_people)
        return Clusters(None, "images", images, scope)
    names = columns[chosen]
    return Clusters(names, chosen, len(set(names)), _scope(columns, names, chosen, of_people))


def _scope(
    columns: Mapping[str, Sequence[str]], clusters: Sequence[str], column: str | None, of_people: bool
) -> str | None:
    subjects = columns.get("subject")
    if subjects is None:
        if column not in (None, "day"):
            return None
        return "these people only" if of_people else "images like these only"
    people = len(set(subjects))
    if people == 1:
        return "this person only"
    # A person in several clusters makes them dependent.
    pairs = len(set(zip(subjects, clusters, strict=True)))
    return f"these {people} people only" if pairs > people else None
