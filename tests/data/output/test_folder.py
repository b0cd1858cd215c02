"""The output folder of a batch: what counts as finished, what is never replaced, and what a kill leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from refiner.core.errors import ImageError, OutputError
from refiner.core.files import TEMPORARY_PREFIX
from refiner.data.output.folder import open_output
from refiner.data.output.output_names import leads_out


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "out"


def make(source: Path, root: Path, name: str, *, job: str = "job", text: str = "output") -> None:
    with open_output(source, root, job=job) as output:
        output.claim(name)
        (root / name).write_text(text)
        output.finish(name, "digest")


def test_finished_means_same_input_same_job_and_output_there(source: Path, root: Path) -> None:
    make(source, root, "a.png")
    with open_output(source, root, job="job") as output:
        assert output.stamp_of("a.png") == "digest"
        assert output.stamp_of("b.png") is None
        (root / "a.png").unlink()
        assert output.stamp_of("a.png") is None
    with open_output(source, root, job="other job") as output:
        assert output.stamp_of("a.png") is None


def test_overwrite_finishes_nothing(source: Path, root: Path) -> None:
    make(source, root, "a.png")
    with open_output(source, root, job="job", overwrite=True) as output:
        assert output.stamp_of("a.png") is None


def test_the_last_line_about_a_file_counts(source: Path, root: Path) -> None:
    make(source, root, "a.png", job="first")
    make(source, root, "a.png", job="second")
    with open_output(source, root, job="first") as output:
        assert output.stamp_of("a.png") is None
    with open_output(source, root, job="second") as output:
        assert output.stamp_of("a.png") == "digest"


def test_a_foreign_file_is_not_replaced(source: Path, root: Path) -> None:
    root.mkdir()
    (root / "a.png").write_text("holiday picture")
    with (
        open_output(source, root, job="job") as output,
        pytest.raises(OutputError, match=r"a\.png already exists and was not written by refiner.*--overwrite"),
    ):
        output.claim("a.png")
    # and the refusal does not make it ours
    with open_output(source, root, job="job") as output, pytest.raises(OutputError):
        output.claim("a.png")
    with open_output(source, root, job="job", overwrite=True) as output:
        output.claim("a.png")
    assert (root / "a.png").read_text() == "holiday picture"


def test_a_file_that_was_in_flight_when_a_run_was_killed_is_ours(source: Path, root: Path) -> None:
    """Moved into place, but its manifest line not written: the same command must be able to go on."""
    with open_output(source, root, job="job") as output:
        output.claim("a.png")
        (root / "a.png").write_text("output")
    with open_output(source, root, job="job") as output:
        assert output.stamp_of("a.png") is None
        output.claim("a.png")


def test_leftovers_of_a_kill_are_removed(source: Path, root: Path) -> None:
    (root / "sub").mkdir(parents=True)
    for name in (f"{TEMPORARY_PREFIX}1.png", f"sub/{TEMPORARY_PREFIX}2.png", "sub/kept.txt"):
        (root / name).write_text("half")
    with open_output(source, root, job="job"):
        pass
    assert sorted(p.name for p in root.rglob("*") if p.is_file()) == ["kept.txt", "lock", "manifest.jsonl"]


def test_a_torn_manifest_costs_its_last_line(source: Path, root: Path) -> None:
    for name in ("a.png", "b.png"):
        make(source, root, name)
    manifest = root / ".refiner" / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes()[:-9] + b"")
    with open_output(source, root, job="job") as output:
        assert output.stamp_of("a.png") == "digest"
        assert output.stamp_of("b.png") is None
        output.claim("b.png")
        output.finish("b.png", "digest")
    with open_output(source, root, job="job") as output:
        assert output.stamp_of("b.png") == "digest"


def test_rejects_are_listed_sorted_and_the_list_goes_when_there_are_none(source: Path, root: Path) -> None:
    with open_output(source, root, job="job") as output:
        output.reject("z.png", "read", "is empty")
        output.reject("a, b.png", "read", 'says "no"')
    assert (
        root / "rejected.csv"
    ).read_text() == 'file,stage,reason\n"a, b.png",read,"says ""no"""\nz.png,read,is empty\n'
    with open_output(source, root, job="job"):
        pass
    assert not (root / "rejected.csv").exists()


def test_an_older_output_of_a_rejected_input_is_removed_but_no_foreign_file(source: Path, root: Path) -> None:
    make(source, root, "a.png")
    (root / "b.png").write_text("holiday picture")
    with open_output(source, root, job="job") as output:
        output.reject("a.png", "read", "is empty")
        output.reject("b.png", "read", "is empty")
    assert not (root / "a.png").exists()
    assert (root / "b.png").exists()


def test_a_sidecar_is_copied_once_and_again_when_it_changes(source: Path, root: Path) -> None:
    table = source / "labels.csv"
    table.write_bytes(b"\xef\xbb\xbffile\r\n")
    for _ in range(2):
        with open_output(source, root, job="job") as output:
            output.copy(table, "labels.csv")
    assert (root / "labels.csv").read_bytes() == table.read_bytes()
    first = (root / "labels.csv").stat().st_ino
    table.write_text("file\na.png\n")
    with open_output(source, root, job="job") as output:
        output.copy(table, "labels.csv")
    assert (root / "labels.csv").read_text() == "file\na.png\n"
    assert (root / "labels.csv").stat().st_ino != first


def test_a_sidecar_that_cannot_be_read_is_an_input_at_fault(source: Path, root: Path) -> None:
    (source / "dangling.csv").symlink_to(source / "nowhere")
    os.mkfifo(source / "pipe.json")
    with open_output(source, root, job="job") as output:
        for name in ("dangling.csv", "pipe.json"):
            with pytest.raises(ImageError, match="cannot be read"):
                output.copy(source / name, name)


def test_a_foreign_sidecar_is_not_replaced(source: Path, root: Path) -> None:
    (source / "labels.csv").write_text("new")
    root.mkdir()
    (root / "labels.csv").write_text("years of work")
    with open_output(source, root, job="job") as output, pytest.raises(OutputError, match="not written by refiner"):
        output.copy(source / "labels.csv", "labels.csv")
    assert (root / "labels.csv").read_text() == "years of work"


def test_folders_inside_one_another_are_refused(source: Path) -> None:
    for first, second in (
        (source, source / "out"),
        (source / "sub", source),
        (source, source),
        (source, source / ".."),
    ):
        with (
            pytest.raises(OutputError, match="must not contain each other"),
            open_output(first, second, job="job"),
        ):
            pass
    assert list(source.iterdir()) == []


def test_a_link_does_not_hide_that_folders_lie_inside_one_another(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(source)
    with (
        pytest.raises(OutputError, match="must not contain each other"),
        open_output(source, tmp_path / "link" / "out", job=""),
    ):
        pass


def test_folders_with_a_common_beginning_are_not_inside_one_another(source: Path, tmp_path: Path) -> None:
    with open_output(source, tmp_path / "in-refined", job="job"):
        assert (tmp_path / "in-refined").is_dir()


@pytest.mark.parametrize("below", ["", "deeper", "deeper/still"])
def test_a_file_in_the_way_is_named(source: Path, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="file is a file; choose another output"),
        open_output(source, tmp_path / "file" / below, job="job"),
    ):
        pass


def test_a_second_process_is_refused(source: Path, root: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from refiner.data.output.folder import open_output
with open_output(Path({str(source)!r}), Path({str(root)!r}), job="job"):
    print("open", flush=True)
    sys.stdin.read()
"""
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with (
            pytest.raises(OutputError, match="another process is writing to"),
            open_output(source, root, job="job"),
        ):
            pass
    finally:
        other.communicate("")
    with open_output(source, root, job="job"):
        pass


def test_a_file_that_is_claimed_anew_is_not_finished_any_longer(source: Path, root: Path) -> None:
    """Another command that writes here and is killed must not leave outputs that count as finished."""
    make(source, root, "a.png")
    with open_output(source, root, job="job") as output:
        output.claim("a.png")
        assert output.stamp_of("a.png") is None
        (root / "a.png").write_text("something else")
    with open_output(source, root, job="job") as output:
        assert output.stamp_of("a.png") is None


def test_only_what_is_named_is_kept_and_only_ours_is_removed(source: Path, root: Path) -> None:
    for name in ("a.png", "b.png"):
        make(source, root, name)
    (root / "mine.png").write_text("precious")
    with open_output(source, root, job="job") as output:
        output.keep_only({"b.png"})
    assert sorted(path.name for path in root.iterdir()) == [".refiner", "b.png", "mine.png"]
    with open_output(source, root, job="job") as output:
        assert output.is_complete()
        with pytest.raises(OutputError, match=r"mine\.png already exists"):
            output.claim("mine.png")
        (root / "b.png").unlink()
        assert not output.is_complete()


@pytest.mark.parametrize("name", ["../victim.png", "/etc/x", "a/../../x", "..", ".", "", "/", "a\0b"])
def test_names_that_lead_out_are_known(name: str) -> None:
    assert leads_out(name)


@pytest.mark.parametrize("name", ["a.png", "a/b.png", "..a.png", "a/..b/c", "~/a.png", ".hidden", "-x"])
def test_names_that_stay_inside_are_known(name: str) -> None:
    assert not leads_out(name)


def test_a_manifest_of_somebody_else_removes_nothing_outside(source: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "victim.png").write_text("precious")
    (root / ".refiner").mkdir(parents=True)
    names = ["../victim.png", str(tmp_path / "victim.png"), 7, None, ["x"], "a.png"]
    (root / ".refiner" / "manifest.jsonl").write_text("".join(json.dumps({"file": name}) + "\n" for name in names))
    with open_output(source, root, job="job") as output:
        output.keep_only(set())
    assert (tmp_path / "victim.png").read_text() == "precious"


def test_outputs_that_are_no_longer_wanted_are_removed_and_their_names_given_up(source: Path, root: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        make(source, root, name)
    (root / "mine.png").write_text("precious")
    (root / "c.png").unlink()
    with open_output(source, root, job="job") as output:
        assert output.prune({"a.png"}) == ["b.png"]
        assert output.stamp_of("a.png") == "digest"
    assert sorted(path.name for path in root.iterdir()) == [".refiner", "a.png", "mine.png"]
    # From now on a file of that name is the user's.
    (root / "b.png").write_text("precious")
    with open_output(source, root, job="job") as output:
        output.reject("b.png", "read", "is empty")
        assert output.prune(set()) == ["a.png"]
        with pytest.raises(OutputError, match="not written by refiner"):
            output.claim("b.png")
    assert (root / "b.png").read_text() == "precious"


def test_another_input_replaces_nothing_unless_told(source: Path, root: Path, tmp_path: Path) -> None:
    with open_output(source, root, job="job") as output:
        output.check_origin("refine", {"a.png": "digest"}.__getitem__)
    make(source, root, "a.png")
    moved = tmp_path / "moved"
    moved.mkdir()
    with (
        open_output(moved, root, job="job") as output,
        pytest.raises(OutputError, match=r"was made from .*/in, but a\.png is missing or differs in .*/moved; choose"),
    ):
        output.check_origin("refine", {"a.png": "other"}.__getitem__)
    with (
        open_output(source, root, job="job") as output,
        pytest.raises(OutputError, match="was written by refiner refine; choose another output folder"),
    ):
        output.check_origin("convert", {"a.png": "digest"}.__getitem__)
    # The same input under another name, the same input with other content, and an order to overwrite.
    for folder, digest, overwrite in ((moved, "digest", False), (moved, "other", False), (source, "other", True)):
        with open_output(folder, root, job="job", overwrite=overwrite) as output:
            output.check_origin("refine", {"a.png": digest}.__getitem__)
            assert output.manifest.facts["source"] == str(folder)
