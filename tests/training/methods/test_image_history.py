"""The history buffer against a ten-line list version, and against each way in which public ones fail."""

import time

import pytest
import torch
from torch import Tensor

from refiner.core.rng import torch_generator
from refiner.training.methods.image_history import ImageHistory


def tagged(first: int, count: int) -> Tensor:
    """Images of one constant each: 2x3, tagged with their number."""
    return (torch.arange(first, first + count).float() / 1000)[:, None, None, None].expand(-1, 1, 2, 3).contiguous()


def tags(images: Tensor) -> list[int]:
    """The numbers of tagged images; every image must be whole."""
    assert all(image.unique().numel() == 1 for image in images)
    return [round(float(image.flatten()[0]) * 1000) for image in images]


def test_fills_and_caps() -> None:
    history = ImageHistory(10)
    lengths = []
    for step in range(5):
        history.mix(tagged(8 * step, 8), torch_generator(0, "history", step))
        lengths.append(len(history))
    assert lengths == [4, 8, 10, 10, 10]


def test_half_of_the_batch_is_old_once_the_buffer_holds_half_a_batch() -> None:
    history = ImageHistory(100)
    assert tags(history.mix(tagged(0, 8), torch_generator(0, "h", 0))) == list(range(8))
    mixed = tags(history.mix(tagged(100, 8), torch_generator(0, "h", 1)))
    assert mixed[:4] == [100, 101, 102, 103]
    assert sorted(mixed[4:]) == [4, 5, 6, 7]  # exactly what the first step left there


def test_a_full_buffer_replaces_exactly_half_a_batch_in_distinct_slots() -> None:
    history = ImageHistory(12)
    for step in range(3):
        history.mix(tagged(8 * step, 8), torch_generator(0, "h", step))
    before = tags(history.images)
    fresh = tagged(500, 8)
    history.mix(fresh, torch_generator(0, "h", 3))
    after = tags(history.images)
    changed = [slot for slot in range(12) if before[slot] != after[slot]]
    assert sorted(after[slot] for slot in changed) == [504, 505, 506, 507]


def test_two_draws_differ_and_cover_the_buffer() -> None:
    history = ImageHistory(40)
    seen = set()
    for step in range(60):
        mixed = history.mix(tagged(8 * step, 8), torch_generator(1, "h", step))
        seen |= {tag for tag in tags(mixed[4:]) if tag < 8 * step}
    assert len(seen) > 100


def test_matches_a_list_of_images() -> None:
    """The same draws on a plain list."""
    from refiner.training.methods.image_history import _choose

    history, kept = ImageHistory(11), []
    for step in range(9):
        fresh = tagged(6 * step, 6)
        mixed = history.mix(fresh, torch_generator(3, "h", step))
        generator = torch_generator(3, "h", step)
        old = [kept[i] for i in _choose(len(kept), 3, generator).tolist()] if len(kept) >= 3 else tags(fresh)[3:]
        assert tags(mixed) == tags(fresh)[:3] + old
        new = tags(fresh)[3:]
        room = min(3, 11 - len(kept))
        slots = _choose(len(kept), 3 - room, generator).tolist() if room < 3 else []
        for slot, tag in zip(slots, new[room:], strict=True):
            kept[slot] = tag
        kept += new[:room]
        assert tags(history.images) == kept


def test_odd_batches_and_batches_of_one() -> None:
    history = ImageHistory(6)
    for step in range(4):
        assert len(history.mix(tagged(5 * step, 5), torch_generator(0, "h", step))) == 5
    assert tags(history.mix(tagged(90, 1), torch_generator(0, "h", 9))) == [90]


def test_capacity_zero_keeps_nothing() -> None:
    history = ImageHistory(0)
    for step in range(3):
        assert tags(history.mix(tagged(8 * step, 8), torch_generator(0, "h", step))) == list(
            range(8 * step, 8 * step + 8)
        )
    assert len(history) == 0


def test_images_kept_carry_no_gradient() -> None:
    history = ImageHistory(8)
    mixed = history.mix(torch.rand(4, 1, 2, 3, requires_grad=True), torch_generator(0, "h"))
    assert not mixed.requires_grad
    assert not history.images.requires_grad


def test_state_survives_a_round_trip_and_goes_on_alike() -> None:
    first, second = ImageHistory(10), ImageHistory(10)
    for step in range(4):
        first.mix(tagged(8 * step, 8), torch_generator(0, "h", step))
    second.load_state_dict(first.state_dict())
    for history in (first, second):
        history.drawn = history.mix(tagged(400, 8), torch_generator(0, "h", 4))
    assert torch.equal(first.drawn, second.drawn)
    assert torch.equal(first.images, second.images)


def test_an_empty_state_and_one_that_does_not_fit() -> None:
    history = ImageHistory(2)
    history.load_state_dict(ImageHistory(5).state_dict())
    assert len(history) == 0
    with pytest.raises(ValueError, match="holds 3 images"):
        history.load_state_dict({"images": torch.zeros(3, 1, 2, 3)})
    with pytest.raises(ValueError, match="expected 0 or more"):
        ImageHistory(-1)


def test_cost_does_not_grow_with_the_capacity() -> None:
    def seconds(capacity: int) -> float:
        history = ImageHistory(capacity)
        history.load_state_dict({"images": torch.zeros(capacity, 1, 2, 3)})
        times = []
        for step in range(20):
            start = time.perf_counter()
            history.mix(tagged(0, 32), torch_generator(0, "h", step))
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(400_000) < 10 * seconds(400)
