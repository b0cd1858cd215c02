"""Damage to a folder: awkward names, links, pipes, odd images, and missing files."""

import os
from pathlib import Path

from choices import Random, files_of, is_other, pick
from images import odd_images

ODD_IMAGES = odd_images()

NAMES = ("a b.png", "a\nb.png", "a\tb.png", "-x.png", "%2e%2e%2fx.png", "ü.png", os.fsdecode(b"\xff\xfe.png"),
         "x" * 251 + ".png", "x" * 251 + ".jpg", "'; touch x.png", "\u202egnp.png", "A.PNG", "a.png.png", "a\rb.png",
         "rejected.csv.png", "[red]x[/red].png", "\x1b[31m.png", "x.h5.png", ".png.png", "nul\\x.png",
         "x" * 244 + ".webp", "d\ne/a.png", "ü" * 120 + ".bmp")  # fmt: skip


def rename(root: Path, rng: Random) -> list[str]:
    """Give an image an awkward name, and its JSON file, too."""
    names = files_of(root, ".png", ".jpg", ".jpeg")
    if not names:
        return []
    old, new = pick(names, rng), pick(NAMES, rng)
    target = (root / old).parent / new
    target.parent.mkdir(exist_ok=True)
    touched = [old, target.relative_to(root).as_posix()]
    labels = (root / old).with_suffix(".json")
    if len(os.fsencode(labels.name)) < 256 and labels.exists() and len(os.fsencode(target.stem)) < 250:
        labels.rename(target.with_suffix(".json"))
        touched += [str(Path(old).with_suffix(".json")), target.with_suffix(".json").relative_to(root).as_posix()]
    (root / old).rename(target)
    return touched


def add_odd_image(root: Path, rng: Random) -> list[str]:
    """Add an odd image, or replace another image by it."""
    odd = ODD_IMAGES[pick(list(ODD_IMAGES), rng)]
    names = files_of(root, ".png", ".jpg")
    name = pick(names, rng) if names and rng.random() < 0.5 else f"odd{int(rng.integers(1000))}{odd.suffix}"
    (root / name).write_bytes(odd.data)
    return [name]


def add_namesakes(root: Path, rng: Random) -> list[str]:
    """Add ``a.png``, ``a.jpg``, ``a.jpg.png`` and the like: different images whose outputs would have one name."""
    suffixes = [".png", ".jpg", ".jpg.png", ".PNG", ".jpeg", ".png.png", ".jpg.png.png", ".JPG"]
    chosen = [suffix for suffix in suffixes if rng.random() < 0.5 and not is_other(root / f"twin{suffix}")]
    for number, suffix in enumerate(chosen):
        kind = next(iter(ODD_IMAGES)) if "png" in suffix.lower()[-4:] else "grey JPEG"
        (root / f"twin{suffix}").write_bytes(ODD_IMAGES[kind].data + bytes(number))
    return [f"twin{suffix}" for suffix in chosen]


def add_special(root: Path, rng: Random) -> list[str]:
    """Put a link (circular, out of the folder, broken), a folder or a pipe where a file is expected."""
    names = files_of(root)
    taken = [
        *names,
        "labels.csv",
        "rejected.csv",
        "drift.csv",
        "joint_data.mat",
        "config.yaml",
        "metrics.jsonl",
        ".refiner",
    ]
    name = pick([*taken, "x.png", "x.png", "loop/x.jpg", "sub", "x.h5"], rng)
    place = root / name
    place.parent.mkdir(exist_ok=True)
    if place.is_dir():
        return []
    place.unlink(missing_ok=True)
    way = int(rng.integers(8))
    if way == 0:
        place.symlink_to(place)
    elif way == 1:
        place.symlink_to("..")
    elif way == 2:
        place.symlink_to(root.parent / "secret" / "secret.png")
    elif way == 3:
        place.symlink_to(root.parent / "secret")
    elif way == 4:
        place.symlink_to("nowhere")
    elif way == 5:
        place.mkdir()
        (place / "inner.png").write_bytes(ODD_IMAGES["RGBA"].data)
    elif way == 6:
        os.mkfifo(place)
    else:
        place.symlink_to("/dev/zero")
    return [name]


def remove(root: Path, rng: Random) -> list[str]:
    """Remove a file."""
    name = pick(files_of(root), rng)
    (root / name).unlink()
    return [name]
