"""One case of the fuzzer: a damaged input, a command that runs on it, and what must hold for any damage.

- It ends by itself with status 0, 1, 2 or 4, with messages of one line and without a traceback.
- It writes only OUT, changes no byte of the input, and executes nothing that it reads.
- Every sample is either converted or refined, and can be read, or it is named in ``rejected.csv``.
- Samples that the damage did not touch are converted to exactly the pixels they had before.
"""

import hashlib
import logging
import os
import re
import shutil
import stat
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from choices import CANARY
from click.testing import CliRunner, Result
from sandboxes import Case, Source

from refiner.commands import main
from results import result_problems

AGAIN_SHARE = 0.05
"""Share of the cases whose command runs a second time."""

_STARTS = (
    "Error",
    "WARNING",
    "INFO",
    "Usage",
    "Try",
    "see ",
    "  rejected ",
    "converting",
    "refining",
    "inspecting",
    "wrote ",
    "predicting",
    "rendering",
)
_LINE = re.compile(rf"({'|'.join(_STARTS)}|\d[\d,]* \w+:? .*|.* lists the rejected images( and the reasons)?$|\s*$)")


class Outcome(NamedTuple):
    """Outcome of one case; ``problems`` is empty if everything holds."""

    command: str
    layout: str
    damage: str
    status: int
    problems: list[str]


def snapshot(root: Path, without: set[Path]) -> dict[str, str]:
    """Return type and content of everything below a folder; links are not followed."""
    seen: dict[str, str] = {}
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if here / name not in without]
        for name in [*folders, *files]:
            path = here / name
            status = path.lstat()
            if path in without:
                continue
            kind = stat.S_IFMT(status.st_mode)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = str(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            seen[str(path.relative_to(root))] = f"{kind:o} {content}"
    return seen


def run_case(work: Path, sources: dict[str, Source], refiner: Path, seed: int, number: int) -> Outcome:
    """Make a case, run it, and check the result."""
    rng = np.random.default_rng([seed, number])
    sandbox = work / "sandbox"
    shutil.rmtree(sandbox, ignore_errors=True)
    sandbox.mkdir()
    case = Case(sandbox, sources, refiner, rng)
    arguments = case.arguments()
    (work.parent / "current").write_text(f"{case.command} {case.source.name} {case.damage} {sorted(case.touched)}")
    before, precious = snapshot(sandbox, case.ours), precious_files(sandbox)
    result = invoke(arguments)
    problems = list(message_problems(result))
    after = snapshot(sandbox, case.ours)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if changed:
        problems.append(f"changed outside OUT: {changed[:3]}")
    if "--overwrite" not in case.options and (lost := precious - precious_files(sandbox)):
        problems.append(f"lost what was there before: {sorted(lost)[:3]}")
    canary = Path(os.environ[CANARY])
    if canary.exists():
        problems.append("something that was read has been run")
        canary.unlink()
    if not problems:
        problems += result_problems(case, result)
    if not problems and result.exit_code in (0, 4) and case.command != "inspect" and rng.random() < AGAIN_SHARE:
        problems += again_problems(case, arguments, result)
    return Outcome(case.command, case.source.name, " + ".join(case.damage), result.exit_code, problems)


def precious_files(root: Path) -> set[str]:
    """Return the files that ``outputs.py`` puts in the way; without --overwrite they must stay."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path) for path in files if path.stat().st_size == 8 and path.read_bytes() == b"precious"}


def invoke(arguments: list[str]) -> Result:
    """Run a command in this process, with its own logging."""
    root = logging.getLogger()
    for handler in [*root.handlers]:
        root.removeHandler(handler)
    return CliRunner().invoke(main, arguments)


def message_problems(result: Result) -> Iterator[str]:
    """Check the exit status and the messages of a command."""
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        frames = traceback.extract_tb(result.exc_info[2] if result.exc_info else None)
        ours = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames if "/refiner/" in frame.filename]
        where = " ".join(ours[-3:])
        yield f"traceback {type(result.exception).__name__} at {where}: {str(result.exception)[:200]}"
    elif result.exit_code not in (0, 1, 2, 4):
        yield f"exit status {result.exit_code}"
    lines = result.stderr.splitlines()
    strange = [line for line in lines if not _LINE.match(line)]
    if strange:
        yield f"stray line on standard error: {strange[0][:200]!r}"
    if result.exit_code in (1, 2) and sum(line.startswith("Error: ") for line in lines) != 1:
        yield f"{sum(line.startswith('Error: ') for line in lines)} error lines"
    if any(len(line) > 3000 for line in lines):
        yield "a message of more than 3,000 characters"


def again_problems(case: Case, arguments: list[str], first: Result) -> Iterator[str]:
    """Check that the same command, run again, changes nothing and ends in the same way."""
    before = snapshot(case.out.parent, {case.out / ".refiner"})
    again = invoke(arguments)
    yield from message_problems(again)
    if again.exit_code != first.exit_code:
        yield f"exit status {again.exit_code} the second time, {first.exit_code} the first: {again.stderr[-200:]}"
    elif snapshot(case.out.parent, {case.out / ".refiner"}) != before:
        yield "the same command again changed the result"
