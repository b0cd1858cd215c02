"""RefineImages in pipelines: the same images as Refiner makes, labels untouched, pickled and saved."""

import pickle
import re
from pathlib import Path
from typing import Any

import albumentations
import numpy as np
import PIL.Image
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from refiner.core.errors import DataError
from refiner.inference.refiner import Refiner
from refiner.inference.transforms import RefineImages
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
SHAPES: list[tuple[int, ...]] = [(8, 12), (9, 14, 3), (7, 5, 4)]


def image_of(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray[Any, Any]:
    return RNG.integers(0, np.iinfo(dtype).max, shape, endpoint=True).astype(dtype)


@pytest.fixture(scope="module", params=[1, 3], ids=["grey", "colour"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refiner whose weights are random, so that it changes every image."""
    architecture = {"channels": request.param, "features": 4, "blocks": 1}
    torch.manual_seed(1)
    file = tmp_path_factory.mktemp("refiner") / "runs" / "eyes" / "refiner.safetensors"
    save_refiner(file, RefinerNetwork(RefinerArchitecture(**architecture)), training={})
    return file


# --- albumentations ------------------------------------------------------------------------------------------------


def test_masks_boxes_and_keypoints_stay(path: Path) -> None:
    image = image_of((9, 14, 3))
    mask = np.arange(126, dtype=np.uint8).reshape(9, 14)
    boxes, points = np.array([[2.0, 1, 7.5, 4]]), np.array([[3.25, 4.5]])
    pipeline = albumentations.Compose(
        [RefineImages(path, device="cpu")],
        bbox_params=albumentations.BboxParams("coco", label_fields=["classes"]),
        keypoint_params=albumentations.KeypointParams("xy"),
    )
    found = pipeline(image=image, mask=mask, masks=[mask + 1], bboxes=boxes, keypoints=points, classes=["cup"])
    assert not np.array_equal(found["image"], image)
    assert np.array_equal(found["mask"], mask)
    assert np.array_equal(found["masks"][0], mask + 1)
    assert np.allclose(found["bboxes"], boxes)
    assert np.allclose(found["keypoints"], points)
    # torchvision: the same, wrapped in its types.
    kept = (
        tv_tensors.Mask(torch.from_numpy(mask)),
        tv_tensors.BoundingBoxes(torch.from_numpy(boxes), format="XYWH", canvas_size=(9, 14)),
    )
    refined, *same = RefineImages(path, device="cpu")(tv_tensors.Image(image.transpose(2, 0, 1)), *kept)
    assert np.array_equal(refined.numpy().transpose(1, 2, 0), found["image"])
    assert all(torch.equal(one, other) for one, other in zip(same, kept, strict=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_albumentations_levels(shape: tuple[int, ...], dtype: Any, path: Path) -> None:
    image = image_of(shape, dtype)
    expected = Refiner.load(path, device="cpu")(image)
    found = albumentations.Compose([RefineImages(path, device="cpu")])(image=image)["image"]
    assert found.dtype == dtype
    assert np.array_equal(found, expected)
    assert not np.array_equal(found, image)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_albumentations_floats(shape: tuple[int, ...], path: Path) -> None:
    image = image_of(shape)
    expected = Refiner.load(path, device="cpu")(image)
    given = (image / 255).astype(np.float32)
    found = albumentations.Compose([RefineImages(path, device="cpu")])(image=given)["image"]
    assert found.dtype == np.float32
    assert found.shape == shape
    assert np.abs(found * 255 - expected).max() <= 0.5 + 1e-3


def test_albumentations_keeps_a_channel_axis_batches_and_labels(path: Path) -> None:
    images = image_of((3, 8, 12, 1))
    pipeline = albumentations.Compose([RefineImages(path, device="cpu")], strict=True)
    mask = image_of((8, 12))
    alone = pipeline(image=images[0], mask=mask)
    assert alone["image"].shape == (8, 12, 1)
    assert np.array_equal(alone["mask"], mask)
    batched = RefineImages(path, device="cpu")(images=images)["images"]
    assert np.array_equal(batched[0], alone["image"])
    expected = Refiner.load(path, device="cpu")([image[..., 0] for image in images])
    assert np.array_equal(batched[..., 0], expected)


def test_albumentations_probability_and_seed(path: Path) -> None:
    image = image_of((8, 12))
    assert np.array_equal(RefineImages(path, p=0.0)(image=image)["image"], image)
    draws = []
    for _ in range(2):
        pipeline = albumentations.Compose([RefineImages(path, p=0.5, device="cpu")], seed=3)
        draws.append([np.array_equal(pipeline(image=image)["image"], image) for _ in range(20)])
    assert draws[0] == draws[1]
    assert 0 < sum(draws[0]) < 20


def test_albumentations_writes_and_reads_it(path: Path) -> None:
    image = image_of((8, 12))
    pipeline = albumentations.Compose([RefineImages(path, p=1.0, device="cpu")])
    written = albumentations.to_dict(pipeline)
    assert (
        written["transform"]["transforms"][0] | {"path": str(path), "p": 1.0, "device": "cpu"}
        == (written["transform"]["transforms"][0])
    )
    again = albumentations.from_dict(written)
    assert np.array_equal(again(image=image)["image"], pipeline(image=image)["image"])
    assert "device='cpu'" in repr(pipeline)


# --- torchvision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_torchvision_images_of_pil_and_tensors(shape: tuple[int, ...], path: Path) -> None:
    image = image_of(shape)
    expected = Refiner.load(path, device="cpu")(image)
    pipeline = v2.Compose([RefineImages(path, device="cpu")])
    assert np.array_equal(np.array(pipeline(PIL.Image.fromarray(image))), expected)
    tensor = tv_tensors.Image(torch.from_numpy(image if image.ndim == 3 else image[..., None]).permute(2, 0, 1))
    refined = pipeline(tensor)
    assert isinstance(refined, tv_tensors.Image)
    assert np.array_equal(refined.permute(1, 2, 0).numpy().reshape(shape), expected)
    floats = pipeline(tensor.as_subclass(torch.Tensor).double() / 255)
    assert floats.dtype == torch.float64
    assert np.abs(floats.permute(1, 2, 0).numpy().reshape(shape) * 255 - expected).max() <= 0.5 + 1e-3


def test_torchvision_batches(path: Path) -> None:
    images = torch.from_numpy(image_of((2, 3, 1, 8, 12)))
    refined = RefineImages(path, device="cpu")(images)
    expected = Refiner.load(path, device="cpu")(list(images.reshape(6, 8, 12).numpy()))
    assert refined.dtype == torch.uint8
    assert np.array_equal(refined.reshape(6, 8, 12).numpy(), expected)


def test_torchvision_passes_everything_else_through(path: Path) -> None:
    image = PIL.Image.fromarray(image_of((8, 12)))
    mask = tv_tensors.Mask(torch.zeros(8, 12))
    sample = {"image": image, "gaze": torch.ones(2), "names": ["a"], "mask": mask, "count": 3}
    found = v2.Compose([RefineImages(path), v2.Identity()])(sample)
    assert set(found) == set(sample)
    assert all(found[name] is sample[name] for name in ("gaze", "mask", "count"))
    assert found["names"] == ["a"]
    assert not np.array_equal(np.array(found["image"]), np.array(image))
    refined, gaze = RefineImages(path)(image, torch.ones(2))
    assert isinstance(refined, PIL.Image.Image)
    assert torch.equal(gaze, torch.ones(2))


def test_torchvision_probability_follows_its_seed(path: Path) -> None:
    image = torch.from_numpy(image_of((1, 8, 12)))
    pipeline = RefineImages(path, p=0.5, device="cpu")
    torch.manual_seed(3)
    first = [torch.equal(pipeline(image), image) for _ in range(20)]
    torch.manual_seed(3)
    assert [torch.equal(pipeline(image), image) for _ in range(20)] == first
    assert 0 < sum(first) < 20


# --- both ----------------------------------------------------------------------------------------------------------


class _Images(torch.utils.data.Dataset[Any]):
    def __init__(self, images: np.ndarray[Any, Any], transform: RefineImages) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Any:
        return self.transform(image=self.images[index])["image"]


def test_it_is_loaded_late_once_and_in_each_worker(path: Path) -> None:
    images, transform = image_of((4, 8, 12)), RefineImages(path)
    assert transform._loaded is None
    state = torch.get_rng_state()
    assert transform.refiner is transform.refiner
    assert torch.equal(torch.get_rng_state(), state)  # loading draws nothing from the user's generator
    expected = Refiner.load(path, device="cpu")(list(images))
    batches = list(torch.utils.data.DataLoader(_Images(images, transform), batch_size=2, num_workers=2))
    assert np.array_equal(torch.cat(batches).numpy(), expected)
    copy = pickle.loads(pickle.dumps(transform))
    assert copy._loaded is None
    assert np.array_equal(copy(image=images[0])["image"], expected[0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 8, 12), r"is a tensor \(2, 8, 12\) of float32; expected .* a tensor \(\.\.\., C, H, W\)"),
        (torch.zeros(8, 12), "with C 1, 3 or 4"),
        (torch.full((1, 8, 12), -0.5), r"values from -0.5 to -0.5, expected \[0, 1\]; refine before normalizing"),
        (torch.full((1, 8, 12), float("nan")), "values from nan"),
        (torch.zeros(1, 8, 12, dtype=torch.int64), "of int64; expected .* uint8"),
    ],
)
def test_what_is_no_image_is_refused(images: torch.Tensor, message: str, path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        RefineImages(path, device="cpu")(images)


def test_mistakes_in_the_call_are_clear(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent does not exist; pass a refiner file"):
        RefineImages(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"p is 1\.5"):
        RefineImages(path, p=1.5)
    with pytest.raises(ValueError, match="has mode P, expected one of L, RGB"):
        RefineImages(path)(PIL.Image.fromarray(image_of((8, 12))).convert("P"))
    with pytest.raises(TypeError, match="either positional"):
        RefineImages(path)(torch.zeros(1, 8, 12), image=image_of((8, 12)))


def test_the_examples_of_the_readme(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.S)
    (block,) = [block for block in blocks if "RefineImages" in block]
    monkeypatch.chdir(path.parent.parent.parent)
    image, channels = image_of((36, 60, 3)), Refiner.load(path, device="cpu").channels
    names: dict[str, Any] = {"image": image, "other": image_of((8, 12)), "tensor": torch.zeros(2, channels, 36, 60)}
    exec(block, names)
    assert names["refined"].shape == (2, channels, 36, 60)
    assert names["augment"](image=image)["image"].shape == image.shape
