"""The renderer's promises: what an image depends on, sizes, ranges, labels that agree with the picture."""

import pytest
import torch

from refiner.eyes.rendering import render_eyes
from refiner.eyes.scene.parameters import EyeParameters, GlassesRanges

PERSON = ("geometry", "lids", "hair", "skin", "iris", "sclera", "glasses")


def test_shapes_types_and_range():
    batch = render_eyes(EyeParameters(), [0, 21, 400], seed=1, size=(35, 55), channels=3)
    assert batch.images.shape == (3, 3, 35, 55)
    assert batch.images.dtype == torch.float32
    assert torch.isfinite(batch.images).all()
    assert batch.images.abs().max() <= 1
    assert batch.images.std(dim=(1, 2, 3)).min() > 0.03
    assert batch.gaze.shape == batch.head_pose.shape == batch.pupil.shape == (3, 2)
    assert batch.iris_outline.shape == (3, 32, 2)
    assert batch.lid_outline.shape == (3, 16, 2)
    assert batch.caruncle.shape == (3, 7, 2)
    assert batch.subjects.dtype == torch.int64
    assert batch.subjects.tolist() == [0, 1, 20]
    assert all(values.shape == (3,) for values in batch.details.values())


@pytest.mark.parametrize(("size", "channels"), [((24, 44), 1), ((37, 61), 3), ((100, 130), 1)])
def test_an_image_depends_on_nothing_but_its_index_and_the_arguments(size, channels):
    parameters = EyeParameters(images_per_person=3)
    whole = render_eyes(parameters, range(70), seed=5, size=size, channels=channels)
    torch.manual_seed(0)
    torch.rand(7)
    alone = render_eyes(parameters, [52], seed=5, size=size, channels=channels)
    shuffled = render_eyes(parameters, [11, 52, 3], seed=5, size=size, channels=channels)
    for name in ("images", "gaze", "head_pose", "pupil", "iris_outline", "lid_outline", "caruncle", "subjects"):
        assert torch.equal(getattr(whole, name)[52], getattr(alone, name)[0]), name
        assert torch.equal(getattr(whole, name)[52], getattr(shuffled, name)[1]), name


def test_images_leave_global_randomness_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    render_eyes(EyeParameters(), [0], seed=1, size=(12, 20))
    assert torch.equal(torch.rand(1), expected)


def test_borders_have_no_frame():
    """The last step of brightness towards a border is like the one before it, also at the ends of the relief."""
    images = render_eyes(EyeParameters(images_per_person=1), range(200), seed=0, size=(36, 60)).images[:, 0]
    for axis in (1, 2):
        steps = images.diff(dim=axis).abs().transpose(0, axis).flatten(1).mean(dim=1)
        assert 0.6 < steps[-1] / steps[-2] < 1.3
        assert 0.6 < steps[0] / steps[1] < 1.3


def test_seeds_and_indices_differ():
    first = render_eyes(EyeParameters(), [0, 1], seed=1)
    second = render_eyes(EyeParameters(), [0, 1], seed=2)
    assert (first.images[0] - second.images[0]).abs().mean() > 0.02
    assert (first.images[0] - first.images[1]).abs().mean() > 0.02
    assert not torch.allclose(first.gaze[0], first.gaze[1])


def test_a_person_keeps_geometry_and_looks_but_not_the_view():
    details = render_eyes(EyeParameters(images_per_person=4), range(8), seed=1, size=(12, 20)).details
    for name, values in details.items():
        if name.split(".")[0] in PERSON:
            assert values.tolist() == [values[0].item()] * 4 + [values[4].item()] * 4, name
        else:
            assert len(values[:4].unique()) > 1, name
    assert details["geometry.eyeball_depth_mm"][0] != details["geometry.eyeball_depth_mm"][4]


def test_ranges_are_kept():
    parameters = EyeParameters(images_per_person=1)
    details = render_eyes(parameters, range(60), seed=9, size=(6, 10)).details
    pitch = details["gaze.pitch_degrees"]
    low, high = parameters.gaze.pitch_degrees
    assert low <= pitch.min() < low + 5
    assert high - 5 < pitch.max() <= high
    turned = pitch + details["geometry.face_tilt_degrees"] - details["head.pitch_degrees"]
    assert turned.abs().max() <= parameters.head.eye_pitch_limit_degrees + 1e-4


def test_grey_is_the_luma_of_colour():
    colour = render_eyes(EyeParameters(images_per_person=1), range(12), seed=4, channels=3).images
    grey = render_eyes(EyeParameters(images_per_person=1), range(12), seed=4, channels=1).images
    luma = (colour * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    inside = colour.abs().amax(dim=1, keepdim=True) < 1  # clipping of single channels breaks the sum
    assert inside.float().mean() > 0.9
    assert (luma - grey)[inside].abs().max() < 1e-4
    assert (colour[:, 0] - colour[:, 2]).mean() > 0.03, "skin is redder than blue"


@pytest.mark.parametrize("size", [(35, 55), (72, 120), (64, 48), (100, 200)])
def test_sizes_agree(size: tuple[int, int]):
    parameters = EyeParameters(images_per_person=1)
    reference = render_eyes(parameters, range(4), seed=2, size=(36, 60))
    other = render_eyes(parameters, range(4), seed=2, size=size)
    # Pixel centres are at integers, so the picture's centre is (W - 1) / 2: offsets from it scale with the width.
    for name in ("pupil", "iris_outline", "lid_outline", "caruncle"):
        from_centre = getattr(reference, name) - torch.tensor([29.5, 17.5])
        expected = from_centre * size[1] / 60 + torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
        assert torch.allclose(getattr(other, name), expected, atol=1e-3), name
    rows = round(36 * size[1] / 60)
    if rows <= size[0]:
        start = (size[0] - rows) // 2
        small = torch.nn.functional.interpolate(other.images[:, :, start : start + rows], size=(36, 60), mode="area")
        assert (small - reference.images).abs().mean() < 0.04


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"indices": []}, "one or more"),
        ({"indices": [3, -1]}, "of at least 0"),
        ({"indices": [0], "size": (2, 60)}, "2x60"),
        ({"indices": [0], "channels": 2}, "channels is 2"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        render_eyes(EyeParameters(), seed=1, **arguments)


def test_the_iris_is_darker_than_the_sclera_and_the_pupil_darkest(looking):
    bare = looking().model_copy(update={"glasses": GlassesRanges(probability=0.0)})  # glare would cover the pupil
    batch = render_eyes(bare, range(40), seed=3, size=(72, 120))
    y, x = torch.meshgrid(torch.arange(72.0), torch.arange(120.0), indexing="ij")
    darker = pupil_darker = 0
    for image, pupil, iris, lids in zip(
        batch.images[:, 0], batch.pupil, batch.iris_outline, batch.lid_outline, strict=True
    ):
        distance = torch.hypot(x - pupil[0], y - pupil[1])
        radius = (iris[0] - pupil).norm()
        level = (y - pupil[1]).abs() < 0.25 * radius  # a band that no lid covers
        on_iris = level & (distance < 0.85 * radius)
        on_sclera = level & (distance > 1.25 * radius) & (x > lids[0, 0] + 8) & (x < lids[8, 0] - 12)
        pupil_disc = level & (distance < 0.2 * radius)
        darker += int(image[on_iris].mean() < image[on_sclera].mean())
        pupil_darker += int(image[pupil_disc].mean() <= image[on_iris].mean() + 1e-6)
    assert darker >= 39
    assert pupil_darker >= 39


def test_a_dark_disc_detector_finds_the_labelled_pupil():
    """Darkest iris-sized disc inside the lid outline: of the labels it uses only the lids."""
    parameters = EyeParameters(images_per_person=1)
    batch = render_eyes(parameters, range(120), seed=8, size=(72, 120))
    y, x = torch.meshgrid(torch.arange(72.0), torch.arange(120.0), indexing="ij")
    disc = (torch.hypot(*torch.meshgrid(torch.arange(-15.0, 16), torch.arange(-15.0, 16), indexing="ij")) < 15).float()
    found = []
    for image, lids in zip(batch.images[:, 0], batch.lid_outline, strict=True):
        upper, lower = lids[:9], torch.cat([lids[:1], lids[8:].flip(0)])
        top, bottom = (_height(curve, x[0]) for curve in (upper, lower))
        opening = (y > top) & (y < bottom) & (x > lids[0, 0]) & (x < lids[8, 0])
        # Outside the opening counts as middling: a disc that runs over it is no better for it.
        middling = image[opening].median()
        darkness = torch.where(opening, (middling - image).clamp(max=0.3), torch.zeros(()))
        score = torch.nn.functional.conv2d(darkness[None, None], disc[None, None], padding=15)[0, 0]
        found.append(torch.stack([x.flatten()[score.argmax()], y.flatten()[score.argmax()]]))
    away = torch.stack(found) - batch.pupil
    assert away[:, 0].abs().median() < 3  # px of 120: 1 mm
    assert away[:, 1].abs().median() < 4.5  # lids cut the iris off above and below
    assert away.median(dim=0).values.abs().max() < 2.5
    for axis, least in ((0, 0.8), (1, 0.6)):
        pair = torch.stack([torch.stack(found)[:, axis], batch.pupil[:, axis]])
        assert torch.corrcoef(pair)[0, 1] > least, axis


def _height(curve: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Linear interpolation (W,) of a curve (K, 2) with growing x."""
    right = torch.searchsorted(curve[:, 0].contiguous(), columns.contiguous()).clamp(1, len(curve) - 1)
    low, high = curve[right - 1], curve[right]
    return low[:, 1] + (high[:, 1] - low[:, 1]) * ((columns - low[:, 0]) / (high[:, 0] - low[:, 0])).clamp(0, 1)
