"""A folder of masks that is given in place of the images, and folders that only have such a name."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from refiner.commands import main
from refiner.data.folders.mask_folders import find_images_of, looks_like_masks
from refiner.images.io import Image, write_image
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

NAMES = [f"{number:04d}.png" for number in range(4)]


def render(seed: int) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (18, 30, 3), dtype=np.uint8)


def mask(seed: int) -> Image:
    image = np.zeros((18, 30), np.uint8)
    image[3 + seed : 12, 5:20] = 255
    return image


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        write_image(tmp_path / "data/images" / name, render(number))
        write_image(tmp_path / "data/masks" / name, mask(number))
    return tmp_path / "data"


def refine(source: Path, *options: str) -> Result:
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, output="residual"))
    save_refiner(source.parent / "r", network, training={})
    arguments = ["refine", source, source.parent / "out", "--refiner", source.parent / "r", "--device", "cpu"]
    options = (*options, "--backend", "torch", "--workers", "1")
    return CliRunner().invoke(main, [*map(str, arguments), *options])


def test_masks_of_images_beside_them_are_refused(dataset: Path) -> None:
    result = refine(dataset / "masks")
    assert result.exit_code == 2
    said = result.stderr.splitlines()[-1]
    assert "masks holds masks, such as those of " in said
    assert "images/0000.png; name the folder with both" in said
    assert not (dataset / "out").exists()
    assert refine(dataset / "masks", "--include", "*.png").exit_code == 0


def test_masks_without_images_are_said(dataset: Path) -> None:
    for name in NAMES:
        (dataset / "images" / name).unlink()
    result = refine(dataset / "masks")
    assert result.exit_code == 0, result.output
    assert "4 images look like masks by their names and contents, and are used as images" in result.stderr
    converted = CliRunner().invoke(main, ["convert", str(dataset / "masks"), str(dataset / "c"), "--workers", "1"])
    assert "4 images look like masks" in converted.stderr


@pytest.mark.parametrize(("folder", "make"), [("masks", render), ("gt", render), ("scenes", mask)])
def test_renders_are_refined_whatever_their_folder_is_called(tmp_path: Path, folder: str, make: object) -> None:
    assert callable(make)
    for number, name in enumerate(NAMES):
        write_image(tmp_path / folder / name, make(number))
        write_image(tmp_path / "other" / name, render(9))
    assert not looks_like_masks(tmp_path / folder, NAMES)


def test_names_of_files_count_and_so_does_one_bright_image(tmp_path: Path) -> None:
    names = [f"{number:04d}_mask.png" for number in range(7)]
    for number, name in enumerate(names):
        write_image(tmp_path / "in" / name, mask(number) if number else np.full((18, 30), 7, np.uint8))
    assert looks_like_masks(tmp_path / "in", names)
    assert find_images_of(tmp_path / "in", names) is None
    write_image(tmp_path / "renders/0002.jpg", render(0))
    assert find_images_of(tmp_path / "in", names) == (tmp_path / "renders/0002.jpg").resolve()
    write_image(tmp_path / "in" / names[4], render(1))  # one of those that are looked at
    assert not looks_like_masks(tmp_path / "in", names)
