"""One case of the fuzzer that judges values: labels out are labels in, transformed by a formula of the fuzzer's own.

- Status 0: every image and every label is there, and right.
- Status 4: what is there is right, and what is missing is named.
- Status 1 or 2: one sentence, and no reason not to. A case without any oddity must end with status 0.
"""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from annotated_cases import convert_annotations, refine_annotations
from cases import Outcome, invoke, message_problems
from choices import Random, pick
from click.testing import Result
from labelled import SAME, XYWH, Folder, make_folder, read
from oracle import Change, Found, expected, image_problem, label_problem, read_folder, read_store
from PIL import Image
from tables import choose_way, write_labels
from yolo_cases import convert_to_yolo

LOSSY = (".jpg", ".jpeg")


class Tools(NamedTuple):
    """Files that the commands need: a refiner that changes nothing, and a gaze estimator."""

    refiner: Path
    estimator: Path


def make_tools(work: Path) -> Tools:
    """Make a refiner and an estimator with tiny networks."""
    import torch

    from refiner.gaze.networks.estimators import build_estimator
    from refiner.gaze.networks.file import save_estimator
    from refiner.models.architecture import RefinerArchitecture
    from refiner.models.files.refiner_file import save_refiner
    from refiner.models.refiner import RefinerNetwork

    tools = Tools(work / "same.safetensors", work / "gaze.safetensors")
    architecture = RefinerArchitecture(channels=3, features=2, blocks=1, output="residual")
    network = RefinerNetwork(architecture)
    weights = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    network.load_state_dict(weights)
    save_refiner(tools.refiner, network, training={})
    torch.manual_seed(0)
    gaze = {"network": "lenet", "size": [18, 30]}
    estimator = build_estimator(gaze)
    save_estimator(
        tools.estimator, estimator.state_dict(), architecture=gaze, equalize=False, mean_gaze=(0.0, 0.0), training={}
    )
    return tools


class ValueCase:
    """A labelled folder in a sandbox, and a command that runs on it."""

    def __init__(self, sandbox: Path, tools: Tools, rng: Random) -> None:
        self.sandbox, self.tools, self.rng = sandbox, tools, rng
        self.command = str(pick(list(COMMANDS), rng))
        self.source = sandbox / "in"
        uniform = "store" in self.command or bool(rng.random() < 0.3)
        aspect = 5 / 3 if self.command == "predict gaze" else None
        way = "plain" if "annotations" in self.command else choose_way(rng)
        self.folder: Folder = make_folder(self.source, way, rng, uniform=uniform, aspect=aspect)
        if "annotations" in self.command:  # the oddities of the table have cases of their own
            self.folder = self.folder._replace(orphans=(), unlabelled=())
        write_labels(self.source, self.folder, rng)
        self.results: list[Result] = []
        self.note = self.folder.way

    def problems(self) -> list[str]:
        """Run the command and judge its result."""
        try:
            return list(COMMANDS[self.command](self))
        except Exception as error:  # what a command wrote cannot be read
            return [f"{type(error).__name__} {str(error)[:300]}"]

    @property
    def status(self) -> int:
        """Exit status of the last command."""
        return self.results[-1].exit_code if self.results else -1

    def run(self, *arguments: object) -> Result:
        """Run a command in this process."""
        result = invoke([str(argument) for argument in arguments])
        self.results.append(result)
        self.note = f"{self.folder.way}: {' '.join(str(argument) for argument in arguments[3:])}"
        return result

    def refusal(self, result: Result, *, plain: bool) -> Iterator[str]:
        """Judge a command that failed."""
        if plain:
            yield f"status {result.exit_code} without any oddity: {result.stderr[-300:]!r}"

    # Commands, and what must hold after each.

    def change(self) -> tuple[Change, list[str]]:
        """Choose a crop, a size and grey, as options."""
        shapes = [sample.image.shape for sample in self.folder.samples.values()]
        smallest = min(shape[0] for shape in shapes), min(shape[1] for shape in shapes)
        crop = size = None
        options: list[str] = []
        if self.rng.random() < 0.4:
            crop = int(self.rng.integers(5, smallest[0] + 1)), int(self.rng.integers(5, smallest[1] + 1))
            options += ["--crop", f"{crop[0]}x{crop[1]}"]
        if self.rng.random() < 0.6:
            size = int(self.rng.integers(5, 60)), int(self.rng.integers(5, 80))
            options += ["--size", f"{size[0]}x{size[1]}"]
        grey = bool(self.rng.random() < 0.2)
        return Change(crop, size, grey), options + ["--grey"] * grey

    def declarations(self, change: Change) -> tuple[list[str], bool]:
        """Declare the labels whose form does not show what they are; sometimes forget it."""
        unclear = [label for label in self.folder.schema if not label.declared]
        if not unclear or (change.crop is None and change.size is None):
            return [], True
        if self.rng.random() < 0.2:
            return [], False
        options: list[str] = []
        for label in unclear:
            if label.kind == SAME:
                options += ["--keep", label.name]
            elif label.kind == "points":
                options += ["--points", label.name]
            else:
                options += ["--boxes", f"{label.name}:{'xywh' if label.kind == XYWH else 'xyxy'}"]
        return options, True

    def convert_folder(self) -> Iterator[str]:
        """Convert a folder to a folder."""
        out = self.sandbox / "out"
        kept = self.add_sidecars() if self.rng.random() < 0.5 else []
        change, options = self.change()
        said, complete = self.declarations(change)
        result = self.run("convert", self.source, out, "--workers", 1, *options, *said)
        if result.exit_code not in (0, 4):
            yield from self.refusal(result, plain=self.folder.is_plain and complete and not kept)
            return
        found = read_folder(out)
        masks = {name: found.pop(name).image for name in kept if name in found}
        yield from self.judge(found, change, result, out / "rejected.csv")
        yield from self.sidecar_problems(kept, masks, change, result)

    def sidecar_problems(
        self, kept: list[str], masks: dict[str, np.ndarray[Any, Any]], change: Change, result: Result
    ) -> Iterator[str]:
        """Check the files beside the images: masks follow them, others are copied if they still fit, or named."""
        missing = []
        rejected = _rejected(self.sandbox / "out/rejected.csv")  # a mask goes where its image goes
        stems = {str(PurePosixPath(name).with_suffix("")) for name in rejected}
        for name in kept:
            copied = self.sandbox / "out" / name
            if name in masks:
                before = read(self.source / name)
                low, high = (change.nearest(before, tie) for tie in (-1e-9, 1e-9))
                if masks[name].shape != low.shape or not ((masks[name] == low) | (masks[name] == high)).all():
                    yield f"{name} is another mask, status {result.exit_code}"
            elif not copied.exists():
                missing += [] if _image_of(name) in stems else [name]
            elif copied.read_bytes() != (self.source / name).read_bytes():
                yield f"{name} was changed"
            elif change.moves and not name.endswith(".txt"):
                yield f"{name} was copied, but the images moved"
        if missing and (result.exit_code == 0 or not any(name in result.stderr for name in missing)):
            yield f"{missing[:3]} are neither there nor named, status {result.exit_code}"

    def convert_store(self) -> Iterator[str]:
        """Convert a folder to a store, and the store back to a folder, one of both with a change."""
        first, options = self.change() if self.rng.random() < 0.5 else (Change(), [])
        said, complete = self.declarations(first)
        store = self.sandbox / "out.h5"
        result = self.run("convert", self.source, store, "--workers", 1, *options, *said)
        if result.exit_code not in (0, 4):
            yield from self.refusal(result, plain=self.folder.is_plain and complete)
            return
        found = read_store(store)
        yield from self.judge(found, first, result, self.sandbox / "out.rejected.csv", exact_text=False)
        if first != Change() or result.exit_code == 4:
            return
        second, options = self.change() if self.rng.random() < 0.7 else (Change(), [])
        said, complete = self.declarations(second)
        result = self.run("convert", store, self.sandbox / "back", "--workers", 1, *options, *said)
        if result.exit_code in (0, 4):
            back = read_folder(self.sandbox / "back")
            yield from self.judge(back, second, result, self.sandbox / "back/rejected.csv")
        else:
            yield from self.refusal(result, plain=self.folder.is_plain and complete)

    def split_folder(self) -> Iterator[str]:
        """Split a folder into two: nothing is lost, nothing is in both, and no subject is."""
        result = self.run("convert", self.source, self.sandbox / "out", "--workers", 1, "--split", "train=0.5,test=0.5")
        if result.exit_code not in (0, 4):
            if "choose larger shares" not in result.stderr:  # an empty split is refused
                yield from self.refusal(result, plain=self.folder.is_plain)
            return
        parts = [read_folder(self.sandbox / "out" / name) for name in ("train", "test")]
        if parts[0].keys() & parts[1].keys():
            yield f"in both splits: {sorted(parts[0].keys() & parts[1].keys())}"
        subjects = [{found.labels.get("subject") for found in part.values()} - {None} for part in parts]
        if subjects[0] & subjects[1] and all(found.labels.get("subject") for part in parts for found in part.values()):
            yield f"subjects in both splits: {subjects[0] & subjects[1]}"
        yield from self.judge(parts[0] | parts[1], Change(), result, self.sandbox / "out/train/rejected.csv")

    def refine_folder(self) -> Iterator[str]:
        """Refine with a refiner that changes nothing, beside sidecars and label masks."""
        kept = self.add_sidecars()
        out = self.sandbox / "out"
        options = ["--max-drift", "1"] if self.rng.random() < 0.3 else []
        options += ["--device", "cpu", "--backend", "torch", "--workers", "1"]
        result = self.run("refine", self.source, out, "--refiner", self.tools.refiner, *options)
        if result.exit_code not in (0, 4):
            yield from self.refusal(result, plain=self.folder.is_plain and not kept)
            return
        missing = _rejected(out / "rejected.csv")
        for name, sample in self.folder.samples.items():
            if not (out / name).exists():
                yield from self.missing(name, result, missing)
                continue
            problem = _close(sample.image, read(out / name), lossy=name.lower().endswith(LOSSY))
            if problem:
                yield f"{name}: {problem}"
        for name in kept:
            if not (out / name).exists():
                if _image_of(name) not in {str(PurePosixPath(image).with_suffix("")) for image in missing}:
                    yield from self.missing(name, result, missing)
            elif (out / name).read_bytes() != (self.source / name).read_bytes():
                yield f"{name} was changed"
        if self.folder.schema:
            copied = out / "labels.csv"
            if not copied.exists():
                yield "labels.csv is not there"
            elif result.exit_code == 0 and copied.read_bytes() != (self.source / "labels.csv").read_bytes():
                yield "labels.csv was changed"
        if (out / "drift.csv").exists():
            with (out / "drift.csv").open(encoding="utf-8", newline="") as stream:
                measured = {row["file"] for row in csv.DictReader(stream)}
            if strays := measured - self.folder.samples.keys():
                yield f"{sorted(strays)} were refined, but are no renders"
        yield from self.tables_problems(result)

    def add_sidecars(self) -> list[str]:
        """Put annotations, texts and label masks beside the images; return their names."""
        names: list[str] = []
        stems = [PurePosixPath(name).with_suffix("") for name in self.folder.samples]
        kind = int(self.rng.integers(6))
        if kind == 1:
            names = [f"{stem}.json" for stem in stems]
        elif kind == 2:
            names = [f"{stem}.xml" for stem in stems]
        elif kind == 3:
            names = [f"notes/{number}.txt" for number in range(2)]
        for name in names:
            (self.source / name).parent.mkdir(parents=True, exist_ok=True)
            (self.source / name).write_text(f"about {name}\n")
        if kind in (4, 5):
            for stem, sample in zip(stems, self.folder.samples.values(), strict=True):
                name = f"{stem}_mask.png" if kind == 4 else f"masks/{stem}.png"
                (self.source / name).parent.mkdir(parents=True, exist_ok=True)
                regions = self.regions(sample.image.shape)
                Image.fromarray(regions).save(self.source / name, optimize=True)  # other bytes than OpenCV writes
                names.append(name)
        return names

    def regions(self, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """Return a label mask: a region within another one, within the background."""
        regions = np.zeros(shape[:2], np.uint8)
        top, left = (int(self.rng.integers(0, side // 3)) for side in shape[:2])
        regions[top : top + 2 * shape[0] // 3, left : left + 2 * shape[1] // 3] = 1
        regions[top + 1 : top + 1 + shape[0] // 3, left + 1 : left + 1 + shape[1] // 3] = 2
        return regions

    def refine_store(self) -> Iterator[str]:
        """Refine a store with a refiner that changes nothing."""
        before = self.run("convert", self.source, self.sandbox / "in.h5", "--workers", 1)
        if before.exit_code not in (0, 4):
            yield from self.refusal(before, plain=self.folder.is_plain)
            return
        options = ["--refiner", self.tools.refiner, "--device", "cpu", "--backend", "torch", "--workers", "1"]
        options += ["--max-drift", "1"] if self.rng.random() < 0.3 else []
        out = self.sandbox / "out.h5"
        result = self.run("refine", self.sandbox / "in.h5", out, *options)
        if result.exit_code not in (0, 4):
            yield from self.refusal(result, plain=self.folder.is_plain and "--max-drift" not in options)
            return
        wanted, found, missing = read_store(self.sandbox / "in.h5"), read_store(out), _rejected(_table(out))
        for name, sample in wanted.items():
            if name not in found:
                yield from self.missing(name, result, missing)
                continue
            if problem := _close(sample.image, found[name].image):
                yield f"{name}: {problem}"
            labels = {key: value for key, value in found[name].labels.items() if not key.startswith("drift_")}
            if json.dumps(labels) != json.dumps(sample.labels):  # as text, in which NaN equals NaN
                yield f"{name} has the labels {labels}, not {sample.labels}"
        if strays := found.keys() - wanted.keys():
            yield f"{sorted(strays)} came from nowhere"

    def predict_gaze(self) -> Iterator[str]:
        """Predict the gaze of each image: every row belongs to its own image."""
        from refiner.core.errors import RefinerError
        from refiner.gaze.prediction import GazeEstimator

        out = self.sandbox / "gaze.csv"
        result = self.run("gaze", "predict", self.tools.estimator, self.source, out, "--device", "cpu")
        estimator = GazeEstimator.load(self.tools.estimator, device="cpu")
        wanted: dict[str, Any] = {}
        for name, sample in self.folder.samples.items():
            try:
                wanted[name] = estimator(sample.image)[0]
            except RefinerError:
                continue
        if result.exit_code not in (0, 4):
            yield from self.refusal(result, plain=self.folder.is_plain and len(wanted) == len(self.folder.samples))
            return
        with out.open(encoding="utf-8", newline="") as stream:
            rows = {
                row["file"]: [float(row["gaze_pitch_rad"]), float(row["gaze_yaw_rad"])]
                for row in csv.DictReader(stream)
            }
        missing = _rejected(self.sandbox / "gaze.rejected.csv")
        for name in self.folder.samples:
            if name not in rows:
                yield from self.missing(name, result, missing)
            elif name.lower().endswith(LOSSY):
                continue
            elif name not in wanted or not np.allclose(rows[name], wanted[name], atol=2e-3):
                yield f"{name} has the gaze {rows[name]}, not {wanted.get(name)}"
        if strays := rows.keys() - self.folder.samples.keys():
            yield f"{sorted(strays)} came from nowhere"

    def render(self) -> Iterator[str]:
        """Render as a folder, as a store and as UnityEyes does: same images and labels; pupils lie in the image."""
        seed, count = int(self.rng.integers(1000)), int(self.rng.integers(2, 5))
        options = ["--seed", seed, "--size", f"{int(self.rng.integers(24, 60))}x{int(self.rng.integers(40, 90))}"]
        options += ["--colour"] * bool(self.rng.random() < 0.3)
        self.run("render", self.sandbox / "a", "--count", count, *options)
        self.run("render", self.sandbox / "b.h5", "--count", count + 1, *options)
        self.run("render", self.sandbox / "c", "--count", count, *options, "--layout", "unityeyes")
        if any(result.exit_code for result in self.results):
            yield f"statuses {[result.exit_code for result in self.results]}: {self.results[-1].stderr[-200:]!r}"
            return
        folder, store = read_folder(self.sandbox / "a"), read_store(self.sandbox / "b.h5")
        if len(folder) != count or not folder.keys() <= store.keys() or len(store) != count + 1:
            yield f"rendered {sorted(folder)} and {sorted(store)}"
        frames = [json.loads(path.read_text()) for path in sorted((self.sandbox / "c").rglob("*.json"))]
        if len(frames) != count:
            yield f"{len(frames)} JSON files for {count} frames"
        for number, (name, found) in enumerate(sorted(folder.items())):
            other = store[name]
            # UnityEyes looks along (x, y, z), with x to the image's right, y up, z towards the camera or from it.
            x, y, z = (float(part) for part in frames[number]["eye_details"]["look_vec"].strip("()").split(",")[:3])
            angles = [np.arcsin(y / np.sqrt(x * x + y * y + z * z)), np.arctan2(-x, abs(z))]
            if not np.allclose(angles, found.labels["gaze"], atol=2e-3):
                yield f"{name}: gaze is {found.labels['gaze']}, in JSON {angles}"
            if not np.array_equal(found.image, other.image):
                yield f"{name} is another image in the store"
            for label in ("gaze", "head_pose", "pupil"):
                if not np.allclose(found.labels[label], other.labels[label], atol=1e-3):
                    yield f"{name}: {label} is {found.labels[label]} and {other.labels[label]}"
            x, y = found.labels["pupil"]
            if not (0 <= x < found.image.shape[1] and 0 <= y < found.image.shape[0]):
                yield f"{name}: the pupil {x, y} is outside"

    # What must hold after several commands.

    def judge(
        self, found: dict[str, Found], change: Change, result: Result, rejects: Path, *, exact_text: bool = True
    ) -> Iterator[str]:
        """Compare the images and labels of a result with what they should be."""
        missing = _rejected(rejects) | _rejected(rejects.parents[1] / "test/rejected.csv")
        left = dict(found)
        for name, sample in self.folder.samples.items():
            there = next(
                (other for other in _written_names(name) if other in left and self.is_of(left[other], sample, change)),
                None,
            )
            if there is None:
                yield from self.missing(name, result, missing)
                continue
            mine = left.pop(there)
            lossy = name.lower().endswith(LOSSY)
            if problem := image_problem(sample, mine.image, change, lossy):
                yield f"{name}: {problem}"
            if name in self.folder.unlabelled:
                if any(label_problem(label, None, mine.labels.get(label.name)) for label in self.folder.schema):
                    yield f"{name} has labels, but no row"
                continue
            yield from self.label_problems(name, mine, change, result, exact_text)
        if left:
            yield f"{sorted(left)} came from nowhere"
        yield from self.tables_problems(result)

    def is_of(self, found: Found, sample: Any, change: Change) -> bool:
        """Return whether an image can be that of a sample: their means, in grey, are close."""
        if found.image.dtype != sample.image.dtype:
            return False
        level = np.iinfo(found.image.dtype).max / 255
        first = [image if image.ndim == 2 else image[..., 0] for image in (found.image, sample.image)]
        apart = abs(float(first[0].mean()) - float(first[1].mean())) / level
        return apart < 20 or change.crop is not None

    def label_problems(self, name: str, mine: Found, change: Change, result: Result, exact_text: bool) -> Iterator[str]:
        """Compare the labels of one image; labels that are missing must be said."""
        sample = self.folder.samples[name]
        has_any = any(label_problem(label, None, mine.labels.get(label.name)) for label in self.folder.schema)
        if not has_any and result.exit_code == 4 and "no labels" in result.stderr:
            return
        for label in self.folder.schema:
            wanted = expected(label, sample.labels[label.name], change, sample.image.shape)
            problem = label_problem(label, wanted, mine.labels.get(label.name), exact_text=exact_text)
            if problem:
                yield f"{name}: {problem}, status {result.exit_code}"

    def missing(self, name: str, result: Result, rejected: dict[str, str]) -> Iterator[str]:
        """Judge a sample that is not there."""
        if name not in rejected and PurePosixPath(name).name not in result.stderr:
            yield f"{name} is neither there nor named, status {result.exit_code}"
        elif result.exit_code == 0:
            yield f"{name} is missing with status 0"
        elif self.folder.is_plain and self.command in ("convert folder", "split folder"):
            yield f"{name} was rejected without any oddity: {rejected.get(name)}"

    def tables_problems(self, result: Result) -> Iterator[str]:
        """Rows without an image, and images without a row, must not pass in silence."""
        if result.exit_code == 0 and (self.folder.orphans or self.folder.unlabelled):
            yield f"status 0 with rows {self.folder.orphans} and without rows for {self.folder.unlabelled}"


def _table(out: Path) -> Path:
    return out.with_suffix(".rejected.csv")


def _image_of(name: str) -> str:
    """Return the name of the image that a mask or another file belongs to, without its suffix."""
    return str(PurePosixPath(name).with_suffix("")).removeprefix("masks/").removesuffix("_mask")


def _written_names(name: str) -> list[str]:
    return [name, str(PurePosixPath(name).with_suffix(".png")), f"{name}.png"]


def _rejected(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        return {row["file"]: row["reason"] for row in csv.DictReader(stream)}


def _close(before: np.ndarray[Any, Any], after: np.ndarray[Any, Any], *, lossy: bool = False) -> str | None:
    """Compare an image with one that a refiner left as it was, but for rounding and compression."""
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        return f"{before.shape} {before.dtype} became {after.shape} {after.dtype}"
    worst = np.abs(before.astype(int) - after).max()
    limit = 8 if lossy else 1 if before.dtype == np.uint8 else 2
    return f"a pixel changed by {worst} levels" if worst > limit else None


COMMANDS: dict[str, Callable[[ValueCase], Iterator[str]]] = {
    "convert folder": ValueCase.convert_folder,
    "convert store": ValueCase.convert_store,
    "split folder": ValueCase.split_folder,
    "refine folder": ValueCase.refine_folder,
    "refine store": ValueCase.refine_store,
    "predict gaze": ValueCase.predict_gaze,
    "render": ValueCase.render,
    "convert annotations": convert_annotations,
    "refine annotations": refine_annotations,
    "annotations to yolo": convert_to_yolo,
}
"""What a case can do, by name."""


def run_value_case(work: Path, tools: Tools, seed: int, number: int) -> Outcome:
    """Make a case, run it, and judge it."""
    sandbox = work / "sandbox"
    shutil.rmtree(sandbox, ignore_errors=True)
    sandbox.mkdir()
    case = ValueCase(sandbox, tools, np.random.default_rng([seed, number]))
    (work.parent / "current").write_text(f"{case.command} {case.folder.way}")
    problems = case.problems()
    problems += [problem for result in case.results for problem in message_problems(result)]
    return Outcome(case.command, "labelled folder", case.note, case.status, problems)
