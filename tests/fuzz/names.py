"""Damage to a folder: awkward names, links, pipes, odd images, and files that are gone."""

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
    """Give an image an awkward name, with what lies beside it under the same stem."""
    names = files_of(root, ".png", ".jpg", ".jpeg")
    if not names:
        return []
    old, new = pick(names, rng), pick(NAMES, rng)
    target = (root / old).parent / new
    target.parent.mkdir(exist_ok=True)
    touched = [old, target.relative_to(root).as_posix()]
    beside = (root / old).with_suffix(".json")
    if len(os.fsencode(beside.name)) < 256 and beside.exists() and len(os.fsencode(target.stem)) < 250:
        beside.rename(target.with_suffix(".json"))
        touched += [str(Path(old).with_suffix(".json")), target.with_suffix(".json").relative_to(root).as_posix()]
    (root / old).rename(target)
    return touched


def add_odd_image(root: Path, rng: Random) -> list[str]:
    """Add one of the odd images, or put it in place of another image."""
    odd = ODD_IMAGES[pick(list(ODD_IMAGES), rng)]
    names = files_of(root, ".png", ".jpg")
    name = pick(names, rng) if names and rng.random() < 0.5 else f"odd{int(rng.integers(1000))}{odd.suffix}"
    (root / name).write_bytes(odd.data)
    return [name]


def add_namesakes(root: Path, rng: Random) -> list[str]:
    """``a.png`` beside ``a.jpg``, ``a.jpg.png`` and the like: different images whose outputs want one name."""
    suffixes = [".png", ".jpg", ".jpg.png", ".PNG", ".jpeg", ".png.png", ".jpg.png.png", ".JPG"]
    chosen = [suffix for suffix in suffixes if rng.random() < 0.5 and not is_other(root / f"twin{suffix}")]
    for number, suffix in enumerate(chosen):
        kind = next(iter(ODD_IMAGES)) if "png" in suffix.lower()[-4:] else "grey JPEG"
        (root / f"twin{suffix}").write_bytes(ODD_IMAGES[kind].data + bytes(number))
    return [f"twin{suffix}" for suffix in chosen]


def add_special(root: Path, rng: Random) -> list[str]:
    """A link (round in circles, out of the folder, into nothing), a folder or a pipe where a file is expected."""
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
