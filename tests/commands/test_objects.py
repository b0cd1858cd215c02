"""``refiner objects``: folders and stores of labelled scenes, which pycocotools reads."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools.coco import COCO

from refiner.commands import main
from refiner.data.formats.registry import open_dataset
from refiner.images.io import read_image
from refiner.objects.shapes import SHAPES


@pytest.mark.parametrize("out", ["scenes", "scenes.h5"])
def test_writes_labelled_scenes(out: str, tmp_path: Path) -> None:
    arguments = ["objects", str(tmp_path / out), "--count", "3", "--size", "40x56", "--seed", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert f"3 labelled scenes in {tmp_path / out}" in result.output
    dataset = open_dataset(tmp_path / out)
    record = dataset.read(dataset.ids[2])
    assert (record.image.shape, record.image.dtype) == ((40, 56, 3), np.uint8)
    assert {each.category for each in record.labels["objects"].objects} <= set(SHAPES)
    assert CliRunner().invoke(main, arguments).exit_code == (2 if out == "scenes" else 0)
    assert CliRunner().invoke(main, [*arguments, "--overwrite"]).exit_code == 0
    assert open_dataset(tmp_path / out).read_image(dataset.ids[2]).tolist() == record.image.tolist()


def test_pycocotools_reads_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every field that evaluations need is there, and agrees with the mask."""
    folder = tmp_path / "scenes"
    assert CliRunner().invoke(main, ["objects", str(folder), "--count", "4", "--target-camera"]).exit_code == 0
    coco = COCO(str(folder / "annotations.json"))
    capsys.readouterr()
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == list(SHAPES)
    images = coco.loadImgs(coco.getImgIds())
    assert [each["file_name"] for each in images] == [f"{number:06d}.png" for number in range(4)]
    for image in images:
        assert read_image(folder / image["file_name"]).shape == (image["height"], image["width"], 3) == (96, 128, 3)
    assert len({each["id"] for each in coco.dataset["annotations"]}) == len(coco.dataset["annotations"]) > 8
    for each in coco.dataset["annotations"]:
        mask = coco.annToMask(each)
        rows, columns = np.nonzero(mask)
        assert each["area"] == mask.sum()
        assert each["iscrowd"] == 0
        assert each["bbox"] == [
            columns.min(),
            rows.min(),
            columns.max() - columns.min() + 1,
            rows.max() - rows.min() + 1,
        ]
