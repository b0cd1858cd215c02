"""Objects on the page: the worst first, each class, with their labels over both pictures, in a real browser."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from refiner.data.drift.objects import ObjectDrift
from refiner.data.drift.table import LabelDrift
from refiner.data.formats.registry import open_dataset
from refiner.data.labels.objects import ImageAnnotations, ObjectLabel
from refiner.data.labels.tables import write_labels
from refiner.evaluation.evaluate import Evaluation, Settings
from refiner.evaluation.measurement import Metric
from refiner.evaluation.verdict import Verdict
from refiner.images.io import write_image
from refiner.metrics.intervals import Interval
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork
from refiner.report.objects import EACH, WORST, ObjectSections
from refiner.report.overlays import Overlay, OverlaySource, describe, overlay
from refiner.report.page import Origin, write_report
from refiner.report.pictures import EXACT_PIXELS, MAX_SIDE, data_uri, open_pictures
from refiner.report.writing import open_labels

SIZE = (36, 60)
COUNT = 30
BAD_CLASS = "</svg><b>&'\""
"""A class name that would break an unescaped page."""


def draw(rng: np.random.Generator) -> tuple[np.ndarray[Any, Any], ImageAnnotations]:
    """A disc with a mask, a rectangle with a box, and a stick with two keypoints, on clouds."""
    image = cv2.resize(rng.integers(60, 120, (4, 6, 3)).astype(np.uint8), SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    cx, cy = rng.integers(8, 20), rng.integers(8, 28)
    disc = np.hypot(x - cx, y - cy) < 6
    image[disc] = (230, 40, 40)
    runs = np.diff(np.flatnonzero(np.diff(np.r_[0, disc.T.reshape(-1), 0])), prepend=0)
    counts = [*runs.tolist(), disc.size - int(runs.sum())]
    left, top = int(rng.integers(28, 36)), int(rng.integers(2, 20))
    image[top : top + 9, left : left + 12] = (40, 60, 220)
    cv2.line(image, (54, 4), (54, 30), (250, 250, 250), 2)
    objects = (
        ObjectLabel("1", "disc", mask={"size": list(SIZE), "counts": counts}),
        ObjectLabel("2", "block", box=(left, top, 12, 9)),
        ObjectLabel("3", BAD_CLASS, keypoints=(54.0, 4.0, 2, 54.0, 30.0, 1)),
    )
    return image, ImageAnnotations(objects)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Renders and real images with objects, and a refiner that changes nothing."""
    root, rng = tmp_path_factory.mktemp("objects"), np.random.default_rng(0)
    for folder in ("synthetic", "real"):
        labels = {}
        for number in range(COUNT):
            image, annotations = draw(rng)
            write_image(root / folder / f"{number:02d}.png", image)
            labels[f"{number:02d}.png"] = {"objects": annotations}
        write_labels(root / folder / "labels.csv", labels)
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, channels=3, output="residual"))
    save_refiner(root / "r.safetensors", network, training={})
    return root


@pytest.fixture(scope="module")
def found(data: Path) -> Evaluation:
    """An evaluation in which the block of image n moved by n/10 px, discs vanished in three images."""
    drifts = {}
    for number in range(COUNT):
        objects = (
            ObjectDrift("1", "disc", score=2.5 - number / 10, vanished=number < 3),
            ObjectDrift("2", "block", x=number / 10, score=number / 10),
            ObjectDrift("3", BAD_CLASS, known=False),
        )
        drifts[f"{number:02d}.png"] = LabelDrift(0.0, 0.0, None, float(number), objects=objects)
    grey = torch.rand(COUNT, 1, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    metric = Metric("moved", "shift", "labels", "px", Interval(1, 0, 2), Interval(0, 0, 0))
    names = [f"{number:02d}.png" for number in range(COUNT)]
    return Evaluation([metric], Verdict("use", []), drifts, {}, grey, grey, grey, real_ids=names)


@pytest.fixture(scope="module")
def labels(data: Path, found: Evaluation) -> tuple[OverlaySource, ObjectSections]:
    overlays, sections = open_labels(
        found, data / "synthetic", data / "r.safetensors", data / "real", settings=Settings(device="cpu")
    )
    assert sections is not None
    return overlays, sections


@pytest.fixture(scope="module")
def page(data: Path, found: Evaluation, labels: tuple[OverlaySource, ObjectSections]) -> Path:
    pictures = open_pictures(found, data / "synthetic", data / "r.safetensors", data / "real", device="cpu")
    origin = Origin("Report", "renders", "photos", 0, [], {})
    write_report(data / "report.html", found, origin, pictures, overlays=labels[0], objects=labels[1])
    return data / "report.html"


def decoded(uri: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_the_worst_objects_come_first(labels: tuple[OverlaySource, ObjectSections]) -> None:
    sections = labels[1]
    scores = [2.5 - number / 10 for number in range(3, COUNT)] + [number / 10 for number in range(COUNT)]
    assert len(sections.worst) == WORST
    captions = [(pair.category, pair.name, pair.caption) for pair in sections.worst]
    vanished = [("disc", f"0{number}.png", f"vanished, score {2.5 - number / 10:.2f}") for number in range(3)]
    assert captions[:3] == vanished
    assert captions[3] == ("block", "29.png", "2.9 px, score 2.90")
    shown = [float(caption.split()[-1]) for _, _, caption in captions[3:]]
    assert shown == pytest.approx(sorted(scores, reverse=True)[: WORST - 3])
    # 27 discs above and below, 30 blocks: those above a score of 1.
    above = sum(score > 1 for score in scores) + 3
    known = [*scores, 2.5, 2.4, 2.3]
    assert sections.note == (
        f"90 objects. Median drift score {np.median(known):.2f}; {above} of 60 above 1. 3 vanished. "
        "30 could not be followed."
    )


def test_each_object_is_cut_out_of_both_images(data: Path, labels: tuple[OverlaySource, ObjectSections]) -> None:
    pair = labels[1].worst[3]
    record = open_dataset(data / "synthetic").read(pair.name)
    left, top, width, height = (
        round(float(value) + 0.5 * (place < 2)) for place, value in enumerate(pair.overlay.view.split())
    )
    x, y, w, h = record.labels["objects"].objects[1].box
    assert left <= x - 4
    assert top <= max(0, y - 4)
    assert left + width >= min(SIZE[1], x + w + 4)
    assert top + height >= min(SIZE[0], y + h + 4)
    crop = record.image[top : top + height, left : left + width]
    assert np.array_equal(decoded(pair.before), crop)
    assert np.abs(decoded(pair.after).astype(int) - crop).max() <= 1  # the refiner changes nothing
    # The label as a path in pixels of the image, and where the object has gone.
    left, top, right, bottom = (f"{value - 0.5:g}" for value in (x, y, x + w, y + h))
    assert f'd="M{left} {top}L{right} {top}L{right} {bottom}L{left} {bottom}Z"' in pair.overlay.body
    assert 'transform="translate(2.90 0.00)"' in pair.moved
    # The nearest real object is a block, too: blue in its middle.
    middle = decoded(pair.nearest)[decoded(pair.nearest).shape[0] // 2, decoded(pair.nearest).shape[1] // 2]
    assert middle.tolist() == [40, 60, 220]


def test_every_class_has_a_sheet(labels: tuple[OverlaySource, ObjectSections]) -> None:
    sheets = labels[1].sheets
    assert [sheet.name for sheet in sheets] == ["disc", "block", BAD_CLASS]
    assert [len(sheet.pairs) for sheet in sheets] == [EACH, EACH, 0]  # what cannot be followed is only counted
    assert len({pair.name for pair in sheets[0].pairs}) == EACH
    assert all(pair.category == "block" for pair in sheets[1].pairs)
    assert sheets[2].note == "30 objects. 30 could not be followed."
    assert len({sheet.colour for sheet in sheets}) == 3


def test_overlays_lie_over_their_pictures(page: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    import shutil

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = started.new_context(offline=True).new_page()
        errors: list[str] = []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(page.as_uri())
        # The first block: its box in the picture, as shares of the picture's size, by the browser's own geometry.
        share = opened.evaluate(
            """() => {
              const figure = [...document.querySelectorAll("#worst-objects ~ .objects .object")][3];
              return [...figure.querySelectorAll(".picture")].slice(0, 2).map((picture) => {
                const image = picture.querySelector("img").getBoundingClientRect();
                const drawn = picture.querySelector("use") || picture.querySelector(".label-edge");
                const edge = drawn.getBoundingClientRect();
                return [(edge.left - image.left) / image.width, (edge.top - image.top) / image.height,
                        edge.width / image.width, edge.height / image.height];
              });
            }"""
        )
        text = page.read_text()
        view, path = re.findall(r'viewBox="([^"]*)"[^>]*><g id="worst-3"><g><path d="([^"]*)"', text)[0]
        left, top, width, height = map(float, view.split())
        points = np.array([[float(value) for value in pair.split()] for pair in re.split("[MLZ]", path) if pair])
        low, high = points.min(axis=0), points.max(axis=0)
        expected = [(low[0] - left) / width, (low[1] - top) / height, *((high - low) / (width, height))]
        for found in share:
            assert found == pytest.approx(expected, abs=0.03)
        # The labels can be hidden, and a class of any name is text.
        shown = "getComputedStyle(document.querySelector('.overlay')).display"
        assert opened.evaluate(shown) != "none"
        opened.click("#labels-shown")
        assert opened.evaluate(shown) == "none"
        assert opened.locator("b").count() == 0
        assert BAD_CLASS in opened.inner_text("main")
        # The dialog shows both labels.
        opened.click("#labels-shown")
        opened.locator(".gallery button").first.click()
        assert opened.locator("#details .overlay").count() == 2
        assert opened.evaluate("document.querySelectorAll('[id=\"labels-0-0\"]').length") == 1
        assert errors == []
        started.close()


def test_pictures_say_in_words_what_is_over_them(page: Path) -> None:
    text = page.read_text()
    assert 'alt="render with 1 disc, 1 block, 1 &lt;/svg&gt;&lt;b&gt;&amp;&#39;&#34;"' in text
    assert 'src="http' not in text
    assert page.stat().st_size < 2_000_000


def test_without_objects_nothing_is_said_of_them(found: Evaluation, data: Path) -> None:
    plain = Evaluation(
        found.metrics,
        found.verdict,
        {name: LabelDrift(0, 0, None, 0) for name in found.drifts},
        {},
        found.synthetic,
        found.refined,
        found.real,
        real_ids=found.real_ids,
    )
    places = data / "synthetic", data / "r.safetensors", data / "real"
    overlays, sections = open_labels(plain, *places, settings=Settings(device="cpu"))
    assert sections is None
    assert overlays.of("00.png").text.startswith("1 disc, 1 block")


def test_far_points_and_odd_names_make_a_sound_overlay() -> None:
    import xml.etree.ElementTree as ET

    from refiner.inspection.overlays.label_shapes import label_shapes

    label = ObjectLabel("1", BAD_CLASS, box=(-1e300, 3, 2e300, 4), keypoints=(1e30, -1e30, 2, 3.0, 4.0, 1))
    drawn: Overlay = overlay(label_shapes({"objects": ImageAnnotations((label,))}, SIZE), (-0.5, -0.5, 60, 36), "x")
    tree = ET.fromstring(f"<svg viewBox='{drawn.view}'>{drawn.body}</svg>")
    numbers = [float(n) for path in tree.iter("path") for n in re.findall(r"-?[\d.]+(?:e\d+)?", path.get("d"))]
    assert max(map(abs, numbers)) <= 1e5
    assert {title.text for title in tree.iter("title")} == {BAD_CLASS}


def test_large_pictures_are_compressed_and_small_ones_exact() -> None:
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (96, 128, 3), np.uint8)
    assert small.shape[0] * small.shape[1] <= EXACT_PIXELS
    assert np.array_equal(decoded(data_uri(small)), small)
    smooth = cv2.resize(small[:6, :8], (640, 480), interpolation=cv2.INTER_CUBIC)
    uri = data_uri(smooth)
    assert uri.startswith("data:image/webp;base64,")
    assert decoded(uri).shape == (MAX_SIDE * 3 // 4, MAX_SIDE, 3)
    wanted = cv2.resize(smooth, (MAX_SIDE, MAX_SIDE * 3 // 4), interpolation=cv2.INTER_AREA)
    assert np.abs(decoded(uri).astype(int) - wanted).mean() < 4


@pytest.mark.parametrize(
    ("classes", "end"), [(7, "1 c5, 1 c6"), (8, "1 c5, 2 other classes"), (200, "194 other classes")]
)
def test_a_caption_names_few_classes(classes: int, end: str) -> None:
    objects = tuple(ObjectLabel(str(number), f"c{number}") for number in range(classes))
    text = describe({"objects": ImageAnnotations((*objects, objects[0]))}, [])
    assert text.startswith("2 c0, 1 c1, ")
    assert text.endswith(end)
