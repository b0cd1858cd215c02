"""Place of this process in a training of several processes, without importing torch."""

import os


def is_main_process() -> bool:
    """Return whether this process writes, logs and prints: of those of ``accelerate launch``, only the first."""
    return os.environ.get("RANK", "0") == "0"
