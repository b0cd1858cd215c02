import subprocess
import sys

import torch

from refiner.core.rng import capture_globals, derived_seed, numpy_generator, restore_globals, torch_generator


def test_positions_purposes_and_seeds_differ() -> None:
    seeds = {derived_seed(s, p, *q) for s in (0, 1) for p in ("a", "b") for q in ((), (0,), (1,), (0, 1), (1, 0))}
    assert len(seeds) == 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_same_in_another_process() -> None:
    code = "from refiner.core.rng import derived_seed; print(derived_seed(7, 'history', 3))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert int(printed) == derived_seed(7, "history", 3)


def test_generators_repeat() -> None:
    assert torch.equal(*(torch.rand(4, generator=torch_generator(1, "x", 2)) for _ in range(2)))
    assert numpy_generator(1, "x", 2).random() == numpy_generator(1, "x", 2).random()


def test_global_state_is_captured() -> None:
    state = capture_globals()
    first = torch.rand(3)
    restore_globals(state)
    assert torch.equal(first, torch.rand(3))
