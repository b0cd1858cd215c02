"""Both pages opened from disk in a real browser with the network off: everything on them moves, opens and counts."""

import base64
import dataclasses
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torch.nn import functional

from refiner.core.errors import OutputError
from refiner.core.rng import torch_generator
from refiner.data.drift.table import LabelDrift
from refiner.data.labels.records import Record
from refiner.evaluation.evaluate import Evaluation
from refiner.evaluation.measurement import Metric
from refiner.evaluation.verdict import Verdict
from refiner.metrics.intervals import Interval
from refiner.models.architecture import RefinerArchitecture
from refiner.models.files.refiner_file import save_refiner
from refiner.models.refiner import RefinerNetwork
from refiner.report.page import SHOWN, Origin, write_report, write_turing_test
from refiner.report.pictures import (
    MeasuredPictures,
    StoredPictures,
    data_uri,
    difference_uri,
    open_pictures,
    refined_again,
)

COUNT = 60


def scenes(seed: int) -> torch.Tensor:
    coarse = torch.rand(COUNT, 1, 6, 10, generator=torch_generator(seed, "scenes")) * 1.6 - 0.8
    return functional.interpolate(coarse, (24, 40), mode="bicubic", align_corners=False).clamp(-1, 1)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    """An evaluation whose image number n has a drift of n pixels, under names that would break an unescaped page."""
    name = "</script><b>{:03d}&'\".png"
    metrics = [
        Metric("kernel", "kernel distance", "realism", "", Interval(2, 1, 3), Interval(0, -1, 1), Interval(9, 8, 10)),
        Metric("moved", "pupil shift", "labels", "px", Interval(0.2, -9, 9), Interval(0, 0, 0), Interval(1, 1, 1)),
    ]
    drifts = {
        name.format(number): LabelDrift(float(number), 0.0, 3.0 * number, float(number)) for number in range(COUNT)
    }
    verdict = Verdict("use with rejection", ["The labels of <half> may be wrong."])
    synthetic = scenes(0)
    return Evaluation(metrics, verdict, drifts, {}, synthetic, 0.8 * synthetic, scenes(1))


@pytest.fixture(scope="module")
def pages(found: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both pages."""
    folder = tmp_path_factory.mktemp("report")
    metrics = [{"step": step, "adversarial": 1 / step, "change": float("nan")} for step in range(1, 9)]
    origin = Origin("Report", "my renders", "my photos", 0, metrics, {"a": "<b>"}, step="step 250 of 400")
    pictures = MeasuredPictures(found)
    write_report(folder / "report.html", found, origin, pictures)
    write_turing_test(folder / "turing.html", found, pictures, trials=40, seed=3)
    return folder


@pytest.fixture
def browser() -> Iterator[Any]:
    """A context of the system's Chromium that reaches no network and reports every error of a page."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = started.new_context(offline=True, accept_downloads=True)
        errors: list[str] = []
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
        yield context
        started.close()
        assert errors == []


def opened(browser: Any, path: Path) -> Any:
    page = browser.new_page()
    page.goto(path.as_uri())
    return page


def test_the_slider_moves_by_mouse_and_by_keyboard(browser: Any, pages: Path) -> None:
    page = opened(browser, pages / "report.html")
    clip = "getComputedStyle(document.querySelector('#compare .after')).clipPath"
    assert page.evaluate(clip) == "inset(0px 0px 0px 50%)"
    page.focus("#split")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert page.evaluate(clip) == "inset(0px 0px 0px 60%)"
    page.evaluate("document.getElementById('split').value = 0")
    page.dispatch_event("#split", "input")
    assert page.evaluate(clip) == "inset(0px 0px 0px 0%)"  # all refined
    assert page.evaluate("getComputedStyle(document.querySelector('#compare img')).imageRendering") == "pixelated"


def test_the_worst_come_first_and_open(browser: Any, pages: Path) -> None:
    page = opened(browser, pages / "report.html")
    captions = page.locator(".gallery >> nth=1").locator("button").all_inner_texts()
    assert len(captions) == SHOWN
    assert [float(text.split()[0]) for text in captions] == [float(COUNT - 1 - place) for place in range(SHOWN)]
    page.locator(".gallery >> nth=1").locator("button").nth(1).click()
    assert page.inner_text("#details-name") == f"</script><b>{COUNT - 2:03d}&'\".png"
    assert f"moved by about {COUNT - 2}.0 px" in page.inner_text("#details-drift")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#details-name") == f"</script><b>{COUNT - 1:03d}&'\".png"
    sizes = page.evaluate("[...document.querySelectorAll('#details img')].map(image => image.naturalWidth)")
    assert sizes == [40] * 4
    page.keyboard.press("Escape")
    assert not page.is_visible("#details")


def test_verdict_and_metrics_are_shown(browser: Any, pages: Path) -> None:
    page = opened(browser, pages / "report.html")
    assert page.inner_text("#verdict") == "use with rejection"
    assert "The labels of <half> may be wrong." in page.inner_text(".verdict")
    assert "2.00 [1.00, 3.00]" in page.inner_text("tr[data-key=kernel]")
    assert "too uncertain" in page.inner_text("tr[data-key=moved]")
    assert page.locator(".curves svg").count() == 1  # change is never a number
    note = page.inner_text("header .note")
    assert note.startswith(
        f"{COUNT} renders from my renders, compared with {COUNT} real images from my photos. Weights of step 250 of"
    )
    assert page.locator("b").count() == 0  # no name became an element


def test_a_session_of_40_answers_scores_right(browser: Any, pages: Path, tmp_path: Path) -> None:
    page = opened(browser, pages / "turing.html")
    assert page.locator("#examples img[alt=photograph]").count() == 20
    assert page.locator("#examples img[alt=refined]").count() == 20
    truths = page.evaluate("test.trials.map(trial => trial.truth)")
    assert len(truths) == 40
    assert truths.count("refined") == 20
    page.click("#start")
    for place, truth in enumerate(truths):
        said = truth if place % 4 else {"real": "refined", "refined": "real"}[truth]  # 30 of 40 right
        if place % 2:
            page.click(f"[data-guess={said}]")
        else:
            page.keyboard.press({"real": "p", "refined": "r"}[said])
    low, high = stats.binomtest(30, 40).proportion_ci(method="wilson")
    expected = f"30 of 40 right: 75.0% [{100 * low:.1f}%, {100 * high:.1f}%]; you can tell them apart"
    assert page.inner_text("#result") == expected
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(tmp_path / "answers.json")
    assert len(json.loads((tmp_path / "answers.json").read_text())["answers"]) == 40
    again = opened(browser, pages / "turing.html")
    again.set_input_files("#load", tmp_path / "answers.json")
    again.wait_for_selector("#result:not(:empty)")
    assert again.inner_text("#result") == expected


def test_no_example_is_a_guess(pages: Path) -> None:
    text = (pages / "turing.html").read_text()
    examples = {part.split('"')[0] for part in text.split('src="data:')[1:]}
    trials = json.loads(text.split('id="data">')[1].split("</script>")[0])["trials"]
    assert len(examples) == 40
    assert not examples & {trial["picture"].removeprefix("data:") for trial in trials}


def test_equal_seeds_give_equal_pages(found: Evaluation, pages: Path, tmp_path: Path) -> None:
    write_turing_test(tmp_path / "same.html", found, MeasuredPictures(found), trials=40, seed=3)
    write_turing_test(tmp_path / "other.html", found, MeasuredPictures(found), trials=40, seed=4)
    assert (tmp_path / "same.html").read_bytes() == (pages / "turing.html").read_bytes()
    assert (tmp_path / "other.html").read_bytes() != (pages / "turing.html").read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_turing_test(tmp_path / "file" / "page.html", found, MeasuredPictures(found), trials=40, seed=3)


def decoded(uri: str) -> Any:
    """Return the RGB or grey picture in a data URI, read by another library than the one that wrote it."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_render_refined_and_nearest_real_image_are_in_sight_in_this_order(found: Evaluation, pages: Path) -> None:
    text = (pages / "report.html").read_text()
    galleries = json.loads(text.split('id="data">')[1].split("</script>")[0])
    visible = re.findall(r'data-label="([^"]*)"><span class="picture"><img alt="[^"]*" src="([^"]*)"', text)
    assert [label for label, _ in visible] == ["render", "refined", "nearest real"] * 2 * SHOWN
    sources = [source for _, source in visible]
    # The nearest real image by another computation: unit vectors of the pixels, averaged by two.
    number = next(index for index, name in enumerate(found.drifts) if name == galleries[0][0]["name"])
    small = [functional.avg_pool2d(images, 2).flatten(1).numpy() for images in (found.refined, found.real)]
    centred = [rows - rows.mean(1, keepdims=True) for rows in small]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in centred]
    best = int((unit[1] @ unit[0][number]).argmax())
    shown = [decoded(source) for source in sources[:3]]
    for picture, images, place in zip(shown, (found.synthetic, found.refined, found.real), (number, number, best)):
        assert np.abs(picture - 127.5 * (images[place, 0].numpy() + 1)).max() <= 0.51


def test_an_unknown_drift_comes_first_and_counts_as_not_in_place(found: Evaluation, tmp_path: Path) -> None:
    drifts = {name: drift._replace(known=name != "</script><b>003&'\".png") for name, drift in found.drifts.items()}
    unknown = dataclasses.replace(found, drifts=drifts)
    write_report(tmp_path / "r.html", unknown, Origin("Report", "a", "b", 0, [], {}), MeasuredPictures(unknown))
    text = (tmp_path / "r.html").read_text()
    worst = json.loads(text.split('id="data">')[1].split("</script>")[0])[1]
    assert (worst[0]["name"], worst[0]["sentence"]) == ("</script><b>003&'\".png", "label drift unknown")
    assert f"2 of {COUNT} images. The label drift of 1 images is unknown." in text  # drifts of 0 and 1 px


def test_a_difference_is_red_where_brighter_and_blue_where_darker() -> None:
    before, after = np.full((2, 3), 100, np.uint8), np.array([[100, 164, 36], [116, 84, 255]], np.uint8)
    picture = decoded(difference_uri(before, after))
    assert picture[0].tolist() == [[255, 255, 255], [255, 0, 0], [0, 0, 255]]
    assert picture[1].tolist() == [[255, 191, 191], [191, 191, 255], [255, 0, 0]]
    coloured = difference_uri(*(np.repeat(image[..., None], 3, axis=2) for image in (before, after)))
    assert np.array_equal(decoded(coloured), picture)


def test_colour_images_are_shown_in_colour(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    levels = {name: rng.integers(0, 256, (4, 12, 20, 3), np.uint8) for name in ("synthetic", "real")}
    for name, images in levels.items():
        (tmp_path / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{number}.png")
    network = RefinerNetwork(RefinerArchitecture(features=4, blocks=1, channels=3))
    save_refiner(tmp_path / "r.safetensors", network, training={})
    grey = torch.zeros(3, 1, 12, 20)
    drifts = {name: LabelDrift(0, 0, None, 0) for name in ("3.png", "0.png", "2.png")}
    ids = ["2.png", "0.png", "1.png"]
    found = Evaluation([], Verdict("use", []), drifts, {}, grey, grey, grey, real_ids=ids)
    pictures = open_pictures(found, tmp_path / "synthetic", tmp_path / "r.safetensors", tmp_path / "real", device="cpu")
    assert isinstance(pictures, StoredPictures)
    assert np.array_equal(decoded(data_uri(pictures.synthetic([2, 0])[1])), levels["synthetic"][3])
    assert np.array_equal(decoded(data_uri(pictures.real([0])[0])), levels["real"][2])
    refined = pictures.refined([1])[0]
    planes = torch.from_numpy(levels["synthetic"][0]).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        wanted = 127.5 * (network.eval()(planes)[0].permute(1, 2, 0).numpy() + 1)
    assert np.abs(refined - wanted).max() <= 1.01


def test_what_was_measured_in_colour_is_not_refined_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    levels = rng.integers(0, 256, (3, 12, 20, 3), np.uint8)
    for folder in ("synthetic", "real"):
        (tmp_path / folder).mkdir()
        for number, image in enumerate(levels):
            Image.fromarray(image).save(tmp_path / folder / f"{number}.png")
    refined = levels[:, ::-1].copy()
    before, after = (torch.from_numpy(some).permute(0, 3, 1, 2) / 127.5 - 1 for some in (levels, refined))
    names = [f"{number}.png" for number in range(3)]
    drifts = dict.fromkeys(names, LabelDrift(0, 0, None, 0))
    found = Evaluation([], Verdict("use", []), drifts, {}, before, after, before, real_ids=names)
    pictures = open_pictures(found, tmp_path / "synthetic", Path("no refiner is read"), tmp_path / "real", device="cpu")
    for side, wanted in ((pictures.synthetic, levels), (pictures.refined, refined), (pictures.real, levels)):
        assert np.array_equal(np.stack(side([2, 0])), wanted[[2, 0]])

    def refiner(image: Any) -> Any:
        return image // 2

    refine = refined_again(found, refiner)  # type: ignore[arg-type]
    assert np.array_equal(refine(Record("1.png", levels[1], {})), refined[1])
    larger = np.repeat(levels[1], 2, axis=0)  # of another size than the measured one
    assert np.array_equal(refine(Record("1.png", larger, {})), larger // 2)
