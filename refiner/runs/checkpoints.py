"""Checkpoints of a run: the complete state, written atomically, the newest two kept; loading never unpickles.

Source of the habit: what has state is listed once, by name (see ``Game.state_dict``).
"""

import io
import logging
import re
from pathlib import Path
from typing import Any

import torch

from refiner.core.errors import RunError
from refiner.core.files import TEMPORARY_PREFIX, write_bytes

log = logging.getLogger(__name__)

KEPT = 2
"""Checkpoints that stay: the newest, and the one before it should the newest be damaged."""

_NAME = re.compile(r"step-(\d{8})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state after ``step`` steps, then delete all but the newest two.

    Raises:
        OutputError: it cannot be written; the older checkpoints are untouched.
    """
    path = folder / f"step-{step:08d}.pt"
    whole = io.BytesIO()  # torch.save reports a full disk as an error of its own making
    torch.save(state, whole)
    write_bytes(path, whole.getvalue(), durable=True)
    for old in list_checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first; what a kill left half-written is not among them."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest state that can be read, on the CPU, or None when there is no checkpoint.

    A damaged newest checkpoint is announced and the one before it is taken: replaying the steps between gives
    the same bits.

    Raises:
        RunError: there are checkpoints, but none can be read.
    """
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        leftover.unlink()
    paths = list_checkpoints(folder)
    for path in reversed(paths):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types for damaged files
            log.warning("%s: cannot be read (%s); going back to the checkpoint before it", path, type(error).__name__)
            continue
        return state
    if paths:
        raise RunError(f"{folder}: none of {len(paths)} checkpoints can be read; start over with --new")
    return None
