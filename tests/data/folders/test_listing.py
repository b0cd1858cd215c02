"""A tree is listed through its links, once."""

from pathlib import Path

from refiner.data.folders.listing import list_folder


def test_linked_folders_are_entered_once_and_loops_never(tmp_path: Path) -> None:
    for name in ("in/p00/a.png", "store/p01/b.png", "store/p01/deep/c.png", "around/in.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    root = tmp_path / "in"
    links = {
        "p01": "../store/p01",
        "p02": "../store/p01/deep",
        "again": "p00",
        "loop": ".",
        "up": "..",
        "p00/back": "..",
        "broken": "nowhere",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    (tmp_path / "store" / "p01" / "home").symlink_to(root)
    listing = list_folder(root)
    assert listing.files == ["broken", "p00/a.png", "p01/b.png", "p01/deep/c.png"]
    assert listing.links == ["p01"]
    assert listing.repeated == {
        "again": "is a link to the folder p00, which is read under that name",
        "loop": "is a link to the folder ., which is read under that name",
        "p00/back": "is a link to the folder ., which is read under that name",
        "p01/home": "is a link to the folder ., which is read under that name",
        "p02": "is a link to the folder p01/deep, which is read under that name",
        "up": "is a link to a folder that contains it",
    }
    assert listing.unread == {}
