"""A sandbox with a damaged input, and the command that runs on it."""

import hashlib
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from choices import Random, pick
from mutations import mutate
from names import ODD_IMAGES
from outputs import ODD_OUTPUTS, REFUSED

from refiner.core.errors import RefinerError
from refiner.data.formats.registry import open_dataset

ODD_OUTPUT_SHARE, OPTIONS_SHARE = 0.08, 0.3

OPTIONS = ("--size 7x9 --grey", "--grey --equalize", "--size 36x60", "--crop 20x30", "--crop none --grey", "--limit 2",
           "--crop none --size 30x50", "--size 1x1", "--overwrite", "--crop 9x9 --size 9x18")  # fmt: skip
"""Options of convert."""


class Source(NamedTuple):
    """A valid input.

    Attributes:
        name: name of its layout.
        folder: folder that is copied and damaged.
        file: the input within it; empty for the folder itself.
        digests: digests of the pixels of each sample.
    """

    name: str
    folder: Path
    file: str
    digests: dict[str, str]


def digest(image: np.ndarray[Any, Any]) -> str:
    """Return the SHA-256 of shape, type and pixels."""
    return hashlib.sha256(f"{image.shape} {image.dtype}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


class Case:
    """A sandbox with a damaged input; use :func:`run_case`."""

    def __init__(self, sandbox: Path, sources: dict[str, Source], refiner: Path, rng: Random) -> None:
        self.sandbox, self.rng = sandbox, rng
        self.command = str(pick(["folder", "folder", "folder", "store", "store", "inspect", "inspect", "refine"], rng))
        layouts = [*sources, "folder", "folder", "unityeyes", "store"]
        if self.command == "refine":
            layouts = ["folder", "unityeyes", "syntheseyes", "store", "run"]
        elif self.command != "inspect":
            layouts = [name for name in layouts if name != "run"]
        self.source = sources[pick(layouts, rng)]
        shutil.copytree(self.source.folder, sandbox / "in")
        (sandbox / "secret").mkdir()
        (sandbox / "secret" / "secret.png").write_bytes(ODD_IMAGES["interlaced"].data)
        self.path = sandbox / "in" / self.source.file
        self.refiner = refiner
        if self.command == "refine" and self.source.name == "run":
            self.path, self.refiner = sandbox / "synthetic", self.path
            shutil.copytree(sources["folder"].folder, self.path)
        self.out = sandbox / ("out.h5" if self.command == "store" else "out")
        if self.command == "refine" and self.source.name == "store":
            self.out = sandbox / "out.h5"
        named = rng.random() < 0.5 and self.source.name not in ("run", "store", "mpiigaze-hdf5", "gaze-hdf5")
        self.format = self.source.name if named or self.source.name == "mpiigaze-evaluation" else None
        self.odd_output = self.command != "inspect" and rng.random() < ODD_OUTPUT_SHARE
        self.options = str(pick(OPTIONS, rng)).split() if rng.random() < OPTIONS_SHARE else []
        self.damage, self.touched = mutate(sandbox / "in", rng)
        if self.odd_output:
            name = str(pick(list(ODD_OUTPUTS), rng))
            self.damage.append(f"OUT {name}")
            self.path, self.out = ODD_OUTPUTS[name](self.path, self.out)
        self.ours = {self.out, self.out.with_name(f"{self.out.name}.parts"), self.out.with_suffix(".rejected.csv")}
        if any(f"OUT {name}" in self.damage for name in REFUSED):
            self.ours = set()

    def arguments(self) -> list[str]:
        """Return the arguments of the command."""
        if self.command == "inspect":
            sheet = ["--sheet", str(self.sandbox / "sheet.png")] if self.source.name != "run" else []
            self.ours = {self.sandbox / "sheet.png"}
            shown = ["--json"] if self.rng.random() < 0.5 else []
            return ["inspect", str(self.path), *shown, *sheet, *(["--format", self.format] if self.format else [])]
        if self.command == "refine":
            return [
                "refine",
                str(self.path),
                str(self.out),
                "--refiner",
                str(self.refiner),
                "--device",
                "cpu",
                "--backend",  # a trial of all backends, for a huge image, would take most of the time of a case
                "torch",
                "--json",
            ]
        options = [*self.options, *(["--format", self.format] if self.format else [])]
        return ["convert", str(self.path), str(self.out), "--workers", "1", "--json", *options]

    def expected(self) -> list[str] | None:
        """Return the samples of the damaged input; None if it cannot be opened."""
        try:
            return list(open_dataset(self.path, format=self.format).ids)
        except (RefinerError, OSError):
            return None
