import inspect
from pathlib import Path
from typing import get_args

import pytest

from refiner.config.networks import DiscriminatorAugmentationSection, DiscriminatorSection
from refiner.config.training import STATISTICS, TrainingConfiguration
from refiner.config.yaml_files import changed_keys, read_configuration, write_configuration
from refiner.core.errors import ConfigurationError
from refiner.losses.adversarial import OBJECTIVES
from refiner.losses.self_regularization import SELF_REGULARIZATIONS
from refiner.models.discriminators import DISCRIMINATORS
from refiner.training.methods.build import CONDITION_PLANES
from refiner.training.methods.diffaugment import augment
from refiner.training.methods.registry import METHODS


def read(text: str, tmp_path: Path, *overrides: str) -> TrainingConfiguration:
    file = tmp_path / "eyes.yaml"
    file.write_text(text, encoding="utf-8")
    return read_configuration(file, TrainingConfiguration, overrides=overrides)


def test_defaults_are_valid_and_written_whole(tmp_path: Path) -> None:
    configuration = read("", tmp_path)
    assert configuration == TrainingConfiguration()
    text = write_configuration(configuration)
    assert "refiner_optimizer" in text
    assert read(text, tmp_path) == configuration


def test_sections_and_overrides(tmp_path: Path) -> None:
    configuration = read(
        "batch_size: 32\nrefiner: {features: 16}\n",
        tmp_path,
        "refiner.features=8",
        "refiner_optimizer.learning_rate=1e-3",
        "data.synthetic=some folder",
        "size=[35, 55]",
    )
    assert configuration.batch_size == 32
    assert configuration.refiner.features == 8
    assert configuration.refiner_optimizer.learning_rate == pytest.approx(1e-3)
    assert configuration.data.synthetic == Path("some folder")
    assert configuration.size == (35, 55)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batchsize: 3", "eyes.yaml: batchsize is no setting; did you mean batch_size?"),
        ("refiner: {featurs: 3}", "refiner.featurs is no setting; did you mean refiner.features?"),
        ("features: 3", "features is no setting; did you mean refiner.features?"),
        ("featurs: 3", "featurs is no setting; did you mean refiner.features?"),
        ("discriminator: {gradient: 3}", "did you mean discriminator.gradient_penalty?"),
        ("nonsense:", "nonsense is no setting; known keys: seed, size,"),
        ("seed:", "seed is None"),
        ("refinr: {features: 3}", "refinr is no setting; did you mean refiner?"),
        ("others: {features: 3}", "others is no setting; known sections: data, refiner, discriminator, cyclegan, cut,"),
        ("cut: {foo: 3}", "cut.foo is no setting; known keys: cut.patch_nce_weight"),
        (
            "discriminator: {foo: 3}",
            "discriminator.foo is no setting; known keys: discriminator.scope, discriminator.layers,",
        ),
        ("batch_size: many", "batch_size is 'many'"),
        ("batch_size: 1", "greater than or equal to 2"),
        ("refiner: 3", "refiner is 3, expected keys and values"),
        ("- 1", "holds no keys and values"),
        ("a: [", "not valid YAML"),
        (
            "history_size: 3\nbatch_size: 64",
            "history_size is 3, but must be 0 or at least half of batch_size (64); set it to 32",
        ),
        ("refiner: {kernel: 4}", "must be odd"),
        ("refiner: {smooth_change: true}", "set refiner.output: residual"),
        ("{size: [1, 5], motion_weight: 1}", "motion_weight needs a height and a width of 2 or more"),
        ("{size: [7, 12], discriminator: {layers: dcgan}}", "set 8 or more for height and width"),
        ("label_smoothing: 0.7", "label_smoothing is 0.7"),
        ("size: [0, 5]", "size is [0, 5]"),
        ("objective: earth_mover", "objective is 'earth_mover'"),
        ("objective: wasserstein", "set discriminator.gradient_penalty: 10"),
        ("{objective: hinge, discriminator: {gradient_penalty: 10}}", "objective hinge has no critic"),
        ("{objective: hinge, label_smoothing: 0.1}", "objective hinge has no probabilities to smooth"),
        ("discriminator: {scope: regional}", "discriminator.scope is 'regional', expected 'local' or 'global'"),
        ("discriminator: {spectral_norm: much}", "discriminator.spectral_norm is 'much'"),
        ("discriminator: {r1_weight: -1}", "discriminator.r1_weight is -1"),
        ("discriminator: {r1_every: 0}", "discriminator.r1_every is 0"),
        ("discriminator: {augmentation: [cutout]}", "discriminator.augmentation is ['cutout']"),
        ("discriminator: {augmentation: {cut_out: 0.5}}", "did you mean discriminator.augmentation.cutout?"),
        ("discriminator: {augmentation: {translation: 0.6}}", "discriminator.augmentation.translation is 0.6"),
        ("discriminator: {augmentation: {cutout: 1}}", "discriminator.augmentation.cutout is 1"),
        ("discriminator: {augmentation: {brightness: -0.1}}", "discriminator.augmentation.brightness is -0.1"),
        ("discriminator: {augmentation: {contrast: 1.1}}", "discriminator.augmentation.contrast is 1.1"),
        ("self_regularization: feelings", "self_regularization is 'feelings'"),
        ("self_regularization: features", "features, which come from an estimator; set data.estimator"),
        ("{self_regularization: features, data: {estimator: e, mask: m}}", "data.mask weights pixels"),
        ("{augmentation: {synthetic: [HorizontalFlip]}, data: {mask: m}}", "but data.mask would not follow"),
        ("discriminator: {condition: gaze}", "real images have no labels; set data.estimator"),
        ("{discriminator: {condition: gaze}, data: {estimator: [e, f]}}", "condition needs one estimator"),
        ("{self_regularization: features, data: {estimator: [e, f]}}", "self_regularization needs one estimator"),
        (
            "{discriminator: {condition: gaze}, data: {estimator: e}, augmentation: {synthetic: [HorizontalFlip]}}",
            "but discriminator.condition would not follow",
        ),
        (
            "{objective: wasserstein, data: {estimator: e}, discriminator: {condition: gaze, gradient_penalty: 10}}",
            "would mix their gaze",
        ),
        ("discriminator: {batch_norm: true, r1_weight: 1}", "are defined for each image alone"),
        ("{objective: wasserstein, discriminator: {batch_norm: true, gradient_penalty: 10}}", "for each image alone"),
        (
            "discriminator: {batch_norm: true, spectral_norm: true}",
            "batch_norm rescales the outputs that spectral_norm limits",
        ),
        ("method: cyclic", "method is 'cyclic'"),
        ("cyclegan: {cycle_weight: -1}", "cyclegan.cycle_weight is -1"),
        ("cut: {patch_nce_weight: -1}", "cut.patch_nce_weight is -1"),
        (
            "method: pix2pix\ndiscriminator: {augmentation: {translation: 0.2}}",
            "method pix2pix compares pairs pixel by pixel, but discriminator.augmentation.translation moves them",
        ),
        (
            "method: pix2pix\naugmentation: {real: [HorizontalFlip]}",
            "method pix2pix compares pairs pixel by pixel, but augmentation.real moves them",
        ),
        ("self_regularization: channel_mean", "self_regularization is channel_mean, which is the same as pixels"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(text, tmp_path)
    assert message in str(caught.value)
    assert "eyes.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_names_a_function_is_in_its_table() -> None:
    fields = TrainingConfiguration.model_fields
    assert get_args(fields["objective"].annotation) == (*OBJECTIVES,)
    assert get_args(fields["self_regularization"].annotation) == (*SELF_REGULARIZATIONS, "features")
    assert get_args(fields["method"].annotation) == (*METHODS, *STATISTICS)
    assert get_args(DiscriminatorSection.model_fields["condition"].annotation) == (*CONDITION_PLANES,)
    assert get_args(DiscriminatorSection.model_fields["scope"].annotation) == (*DISCRIMINATORS,)
    assert set(DiscriminatorAugmentationSection.model_fields) <= inspect.signature(augment).parameters.keys()


def test_options_of_the_discriminator_are_off_by_default_and_can_be_set(tmp_path: Path) -> None:
    section = TrainingConfiguration().discriminator
    assert (section.scope, section.spectral_norm, section.r1_weight) == ("local", False, 0)
    assert set(section.augmentation.model_dump().values()) == {0}
    text = "discriminator: {scope: global, spectral_norm: true, r1_weight: 10, r1_every: 16}"
    configuration = read(
        text, tmp_path, "discriminator.augmentation.cutout=0.5", "self_regularization=channel_mean", "channels=3"
    )
    assert configuration.discriminator.r1_every == 16
    assert configuration.discriminator.augmentation.cutout == 0.5
    assert read(write_configuration(configuration), tmp_path) == configuration


def test_no_history_and_no_self_regularization_are_allowed(tmp_path: Path) -> None:
    configuration = read("history_size: 0\nself_regularization_weight: 0", tmp_path)
    assert (configuration.history_size, configuration.self_regularization_weight) == (0, 0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batch_size", "expected section.key=value"),
        ("size.x=3", "size"),
        ("=3", "expected"),
        ("seed=[", "not valid YAML"),
    ],
)
def test_a_bad_override_is_refused(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
        read("", tmp_path, override)


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        (["batch_size=1"], "--set batch_size=1: batch_size is 1, expected a value greater than or equal to 2"),
        (["seed=4", "size=[x, 3]"], "--set size=[x, 3]: size is 'x', expected a whole number"),
        (["batch_size=1", "batch_size=0"], "--set batch_size=0: batch_size is 0"),
        (["refiner.featurs=3"], "--set refiner.featurs=3: refiner.featurs is no setting; did you mean"),
        (["refinr.features=3"], "{file} with --set refinr.features=3: refinr is no setting; did you mean refiner?"),
        (["seed=4", "objective=wasserstein"], "{file} with --set objective=wasserstein: objective is wasserstein"),
        (["refiner.kernel=4"], "{file} with --set refiner.kernel=4: "),
        (["seed=4"], "{file}: history_size is 3"),
    ],
)
def test_an_error_names_the_override_or_the_file(overrides: list[str], start: str, tmp_path: Path) -> None:
    text = "history_size: 3" if overrides == ["seed=4"] else ""
    with pytest.raises(ConfigurationError) as caught:
        read(text, tmp_path, *overrides)
    assert str(caught.value).startswith(start.replace("{file}", str(tmp_path / "eyes.yaml")))


def test_a_section_cannot_be_entered_through_a_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="seed is a value"):
        read("seed: 1", tmp_path, "seed.x=3")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.yaml"):
        read_configuration(tmp_path / "absent.yaml", TrainingConfiguration)


def test_yaml_is_not_evaluated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        read("seed: !!python/object/apply:os.getcwd []", tmp_path)


def test_changes_are_named() -> None:
    old = TrainingConfiguration()
    new = old.model_copy(update={"seed": 3, "refiner": old.refiner.model_copy(update={"features": 8})})
    assert changed_keys(old, new) == ["seed: 0 -> 3", "refiner.features: 64 -> 8"]
    assert changed_keys(old, old) == []


def test_paths_are_taken_as_they_stand(tmp_path: Path) -> None:
    for text in ("/data/run #2", "2024-05-01", "123"):
        assert read("", tmp_path, f"data.synthetic={text}").data.synthetic == Path(text)
    assert read("", tmp_path, "data.real=~/eyes").data.real == Path.home() / "eyes"
    assert read("", tmp_path, "data.estimator=run #2").data.estimator == Path("run #2")
    assert read("", tmp_path, "data.estimator=[a, ~/b]").data.estimator == [Path("a"), Path.home() / "b"]
    assert read("", tmp_path, "data.estimator=[~/b]").data.estimator == Path.home() / "b"


def test_a_section_of_comments_alone_is_its_defaults(tmp_path: Path) -> None:
    assert read("data:\n  # renders: here\n", tmp_path, "data.synthetic=x").data.synthetic == Path("x")
    assert read("discriminator:\n  augmentation:\n", tmp_path) == TrainingConfiguration()
