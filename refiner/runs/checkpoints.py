"""Checkpoints of a run: the complete state, written atomically. The newest two are kept. Loading never unpickles."""

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
"""Number of checkpoints that are kept: the newest, and the one before it in case the newest is damaged."""

_NAME = re.compile(r"step-(\d{8})\.pt")


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write the state after ``step`` steps, then delete all checkpoints but the newest two.

    Raises:
        OutputError: the file cannot be written; the older checkpoints are unchanged.
    """
    path = folder / f"step-{step:08d}.pt"
    whole = io.BytesIO()  # torch.save reports a full disk as an error of its own making
    torch.save(state, whole)
    write_bytes(path, whole.getvalue(), durable=True)
    # Delete old checkpoints only after the new one is on disk.
    for old in list_checkpoints(folder)[:-KEPT]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run, oldest first, without half-written files."""
    return sorted(path for path in folder.glob("step-*.pt") if _NAME.fullmatch(path.name))


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Load the newest readable state on the CPU, or return None if there is no checkpoint.

    If the newest checkpoint is damaged, a warning says so and the one before it is loaded. Repeating the steps between
    them gives the same bits.

    Raises:
        RunError: there are checkpoints, but none can be read.
    """
    # Remove files that a kill left half-written.
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        leftover.unlink()
    paths = list_checkpoints(folder)
    for path in reversed(paths):
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many types for damaged files
            log.warning("%s cannot be read (%s); the checkpoint before it is tried", path, type(error).__name__)
            continue
        return state
    if paths:
        raise RunError(f"none of the {len(paths)} checkpoints in {folder} can be read; start again with --new")
    return None
