from pathlib import Path

import pytest

from refiner.config.yaml_files import read_configuration, write_configuration
from refiner.core.errors import ConfigurationError
from refiner.gaze.config import GazeConfiguration


@pytest.mark.parametrize(
    ("override", "paths"),
    [
        ("data.train=refined", ["refined"]),
        ("data.train=[raw, refined]", ["raw", "refined"]),
        ("data.train=123", ["123"]),
        ("data.train=", []),
    ],
)
def test_one_or_several_data_sets(override: str, paths: list[str]) -> None:
    read = read_configuration(None, GazeConfiguration, overrides=[override])
    assert read.data.train == [Path(path) for path in paths]


@pytest.mark.parametrize(
    ("override", "expected"),
    [("head_pose=false", False), ("head_pose=true", True), ("head_pose=on", True), ("head_pose=yaw", "yaw")],
)
def test_head_pose_or_its_yaw_only(override: str, expected: bool | str, tmp_path: Path) -> None:
    read = read_configuration(None, GazeConfiguration, overrides=[override])
    assert read.head_pose is expected or read.head_pose == expected == "yaw"
    (tmp_path / "configuration.yaml").write_text(write_configuration(read))
    assert read_configuration(tmp_path / "configuration.yaml", GazeConfiguration) == read


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("netwrok=small", "did you mean network?"),
        ("network=vgg", "network is 'vgg'"),
        ("augmentation.transforms=3", "expected a list of transforms"),
        ("size=[0, 60]", "1 or more"),
        ("head_pose=pitch", "head_pose is 'pitch', expected False, True or 'yaw'"),
    ],
)
def test_each_mistake_is_named(override: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(None, GazeConfiguration, overrides=[override])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["network=paper", "size=[22, 60]"], "network paper needs a height and a width of 23 or more"),
        (["network=knn", "head_pose=true"], "head_pose is true, but network knn compares images only"),
        (["network=knn", "head_pose=yaw"], "head_pose is yaw, but network knn compares images only"),
        (["patience=3", "data.held_out=0"], "patience needs held-out images"),
        (["network=knn", "data.unlabelled=real"], "network knn cannot be co-taught on data.unlabelled"),
        (["patience=3", "augmentation.strong=1", "data.unlabelled=real"], "held-out renders cannot tell when"),
        (["data.unlabelled=real"], "set augmentation.strong above 0"),
        (["batch_size=1", "augmentation.strong=1", "data.unlabelled=real"], "co_teaching.batch_size to 2 or more"),
    ],
)
def test_settings_that_do_not_fit_together(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_configuration(None, GazeConfiguration, overrides=overrides)
