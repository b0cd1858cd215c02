"""Shares of a job: every name and every part is somebody's, and nobody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refiner.core.parallel.shards import Shard


@given(name=st.text(min_size=1), total=st.integers(1, 50))
def test_every_name_is_one_shard_s(name: str, total: int) -> None:
    assert sum(Shard(number, total).takes_name(name) for number in range(1, total + 1)) == 1


@given(part=st.integers(0, 1000), total=st.integers(1, 50))
def test_every_part_is_one_shard_s(part: int, total: int) -> None:
    assert sum(Shard(number, total).takes_chunk(part) for number in range(1, total + 1)) == 1


def test_shares_are_about_equal() -> None:
    names = [f"{number:06d}.png" for number in range(8000)]
    assert all(900 < sum(map(Shard(number, 8).takes_name, names)) < 1100 for number in range(1, 9))


def test_names_that_are_no_utf8_are_somebody_s() -> None:
    assert Shard(1, 1).takes_name("b\udce4d.png")


@pytest.mark.parametrize("text", ["0/8", "9/8", "1", "1/0", "a/b", "1/8/2", "-1/8", "1 / 8", ""])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not NUMBER/COUNT, as in 2/8"):
        Shard.parse(text)


def test_a_share_is_read_and_told() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    assert str(Shard(2, 8)) == "2-of-8"
