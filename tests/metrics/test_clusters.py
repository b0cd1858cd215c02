"""Clusters of images: whole people if there are several, else days; what the interval holds for is said."""

import pytest

from refiner.metrics.clusters import find_clusters

SUBJECTS, DAYS = ["a", "a", "b", "b"], ["1", "2", "1", "2"]


@pytest.mark.parametrize(
    ("columns", "column", "text"),
    [
        ({"subject": SUBJECTS, "day": DAYS}, None, "2 clusters by subject"),
        ({"subject": SUBJECTS, "day": DAYS}, "day", "2 clusters by day, for these 2 people only"),
        ({"subject": ["a"] * 4, "day": DAYS}, None, "2 clusters by day, for this person only"),
        ({"subject": ["a"] * 4, "day": ["1"] * 4}, None, "4 images, for this person only"),
        ({"subject": ["a"] * 4}, None, "4 images, for this person only"),
        ({"day": DAYS}, None, "2 clusters by day, for these people only"),
        ({"family": DAYS}, "family", "2 clusters by family"),
        ({"subject": SUBJECTS, "country": ["x"] * 2 + ["y"] * 2}, "country", "2 clusters by country"),
        ({"subject": ["a", "a", "", ""]}, None, "2 clusters by subject"),
        ({}, None, "4 images, for these people only"),
    ],
)
def test_clusters_and_their_scope(columns: dict[str, list[str]], column: str | None, text: str) -> None:
    found = find_clusters(columns, 4, column)
    assert str(found) == text
    assert found.names == (None if "images" in text else columns[found.column])


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({}, "4 images, for images like these only"),
        ({"day": DAYS}, "2 clusters by day, for images like these only"),
        ({"subject": ["a"] * 4}, "4 images, for this person only"),
    ],
)
def test_images_of_things_are_no_people(columns: dict[str, list[str]], text: str) -> None:
    assert str(find_clusters(columns, 4, of_people=False)) == text
