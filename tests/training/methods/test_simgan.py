"""The moves of both players: what gets a gradient, what does not, and what state there is."""

import copy

import pytest
import torch

from refiner.config.training import TrainingConfiguration
from refiner.core.errors import TrainingError
from refiner.core.rng import torch_generator
from refiner.losses.penalties import r1_penalty
from refiner.losses.self_regularization import SELF_REGULARIZATIONS
from refiner.models.discriminators import DISCRIMINATORS
from refiner.training.methods.build import build_networks
from refiner.training.methods.diffaugment import augment
from refiner.training.methods.simgan import SimGAN

DRAWS = torch_generator(0, "draws")
"""Where nothing draws."""


@pytest.fixture
def method(tiny: TrainingConfiguration) -> SimGAN:
    return SimGAN(tiny, device="cpu", precision="fp32")


def images(count: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, 8, 12, generator=torch_generator(seed, "images")) * 2 - 1


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in network.parameters()])


def test_refiner_step_moves_the_refiner_only(method: SimGAN) -> None:
    refiner, discriminator = weights(method.refiner), weights(method.discriminator)
    method.update_refiner(images(), DRAWS)
    assert not torch.equal(weights(method.refiner), refiner)
    assert torch.equal(weights(method.discriminator), discriminator)
    assert all(parameter.grad is None for parameter in method.discriminator.parameters())


def test_discriminator_step_sends_no_gradient_into_the_refiner(method: SimGAN) -> None:
    refiner, discriminator = weights(method.refiner), weights(method.discriminator)
    method.update_discriminator(images(), images(seed=1), torch_generator(0, "h"))
    assert torch.equal(weights(method.refiner), refiner)
    assert all(parameter.grad is None for parameter in method.refiner.parameters())
    assert not torch.equal(weights(method.discriminator), discriminator)


def gradient_of_the_refiner(method: SimGAN, *, adversarial: bool = True) -> torch.Tensor:
    method.update_refiner(images(), DRAWS, adversarial=adversarial)
    return torch.cat([parameter.grad.flatten() for parameter in method.refiner.parameters()])


def test_the_adversarial_term_reaches_the_refiner(tiny: TrainingConfiguration) -> None:
    """Another discriminator gives another gradient; without the adversarial term it does not matter."""
    methods = [SimGAN(tiny, device="cpu", precision="fp32") for _ in range(4)]
    for method in methods[1::2]:
        torch.nn.init.normal_(method.discriminator.head.weight)
    first, second = (gradient_of_the_refiner(method) for method in methods[:2])
    assert not torch.allclose(first, second, atol=1e-6)
    alone = [gradient_of_the_refiner(method, adversarial=False) for method in methods[2:]]
    assert torch.equal(*alone)


def test_refiner_gradient_is_adversarial_plus_lambda_times_regularization(tiny: TrainingConfiguration) -> None:
    def gradient(weight: float, *, adversarial: bool = True) -> torch.Tensor:
        configuration = tiny.model_copy(update={"self_regularization_weight": weight})
        return gradient_of_the_refiner(SimGAN(configuration, device="cpu", precision="fp32"), adversarial=adversarial)

    regularization = gradient(1.0, adversarial=False)
    assert torch.allclose(gradient(5.0), gradient(0.0) + 5 * regularization, atol=1e-5)


def test_discriminator_sees_refined_images_of_past_steps(method: SimGAN) -> None:
    """The images of the first step come back after the refiner has changed."""
    with torch.no_grad():
        first = method.refiner(images())
    seen: list[torch.Tensor] = []
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for step in range(3):
        method.update_discriminator(images(seed=step), images(seed=9), torch_generator(0, "h", step))
        torch.nn.init.normal_(method.refiner.head.weight)
    late = [image for batch in seen[2::2] for image in batch]  # every second batch is real
    assert any(torch.equal(image, old) for image in late for old in first[3:])


def test_training_pulls_a_refiner_of_loss_only_to_the_identity(tiny: TrainingConfiguration) -> None:
    optimizer = tiny.refiner_optimizer.model_copy(update={"learning_rate": 0.01})
    method = SimGAN(tiny.model_copy(update={"refiner_optimizer": optimizer}), device="cpu", precision="fp32")
    losses = [
        method.update_refiner(images(), DRAWS, adversarial=False)["self_regularization"].item() for _ in range(150)
    ]
    assert losses[-1] < 0.5 * losses[0]


def test_average_follows_the_weights(method: SimGAN) -> None:
    start = weights(method.refiner)
    method.update_refiner(images(), DRAWS)
    assert torch.allclose(weights(method.average), (start + weights(method.refiner)) / 2, atol=1e-7)  # decay 0.5
    assert method.saved_network is method.average


def test_a_loss_that_is_not_finite_stops(method: SimGAN) -> None:
    with torch.no_grad():
        method.refiner.stem.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"not finite .*self_regularization nan"):
        method.update_refiner(images(), DRAWS)


def test_state_is_complete(tiny: TrainingConfiguration) -> None:
    first, second = (SimGAN(tiny, device="cpu", precision="fp32") for _ in range(2))
    for step in range(3):
        first.update_refiner(images(seed=step), DRAWS)
        first.update_discriminator(images(seed=step), images(seed=9), torch_generator(0, "h", step))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for method in (first, second):
        method.update_refiner(images(seed=7), DRAWS)
        method.update_discriminator(images(seed=8), images(seed=9), torch_generator(0, "h", 3))
    for network in ("refiner", "discriminator", "average"):
        assert torch.equal(weights(getattr(first, network)), weights(getattr(second, network)))
    assert torch.equal(first.history.images, second.history.images)


def test_initial_weights_follow_from_the_seed_alone(tiny: TrainingConfiguration) -> None:
    torch.manual_seed(1)
    first = [weights(network) for network in build_networks(tiny)]
    torch.manual_seed(2)
    second = [weights(network) for network in build_networks(tiny)]
    other = [weights(network) for network in build_networks(tiny.model_copy(update={"seed": 5}))]
    assert all(map(torch.equal, first, second))
    assert not any(map(torch.equal, first, other))


AUGMENTED = {"translation": 0.25, "cutout": 0.5, "brightness": 0.5, "contrast": 0.5}


def with_discriminator(tiny: TrainingConfiguration, precision: str = "fp32", **options: object) -> SimGAN:
    section = tiny.discriminator.model_copy(update=options)
    return SimGAN(tiny.model_copy(update={"discriminator": section}), device="cpu", precision=precision)


@pytest.mark.parametrize("scope", list(DISCRIMINATORS))
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_discriminator_is_the_one_asked_for(scope: str, spectral_norm: bool, tiny: TrainingConfiguration) -> None:
    method = with_discriminator(tiny, scope=scope, spectral_norm=spectral_norm)
    assert isinstance(method.discriminator, DISCRIMINATORS[scope])
    assert any("_u" in name for name in method.state_dict()["discriminator"]) == spectral_norm


def test_discriminator_sees_augmented_images_in_both_updates(tiny: TrainingConfiguration) -> None:
    """The same draws in the same order; the history keeps whole images."""
    section = tiny.discriminator.augmentation.model_copy(update=AUGMENTED)
    method, seen = with_discriminator(tiny, augmentation=section), list[torch.Tensor]()
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    with torch.no_grad():
        refined = method.refiner(images())
    method.update_discriminator(images(), images(seed=1), torch_generator(0, "d"))
    assert torch.equal(method.history.images, refined[3:])
    method.update_refiner(images(), torch_generator(0, "r"))
    draws = torch_generator(0, "d")
    assert torch.equal(seen[0], augment(refined, draws, **AUGMENTED))  # the history is empty and draws nothing
    assert torch.equal(seen[1], augment(images(seed=1), draws, **AUGMENTED))
    assert torch.equal(seen[2], augment(refined, torch_generator(0, "r"), **AUGMENTED))
    assert method.refiner.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_r1_penalty_is_weighted_and_logged(precision: str, tiny: TrainingConfiguration) -> None:
    """It adds gamma / 2 times r1_every to the gradient, in fp32 whatever the precision."""

    def gradient(**options: object) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        method = with_discriminator(tiny, precision, **options)
        metrics = method.update_discriminator(images(), images(seed=1), torch_generator(0, "h"))
        return torch.cat([parameter.grad.flatten() for parameter in method.discriminator.parameters()]), metrics

    (plain, without), (penalized, metrics) = gradient(), gradient(r1_weight=3.0, r1_every=2)
    assert "r1" not in without
    discriminator = build_networks(tiny)[1]
    penalty = r1_penalty(discriminator, images(seed=1), torch_generator(0, "h"))
    penalty.backward()
    assert metrics["r1"].item() == pytest.approx(penalty.item())
    alone = [p.grad if p.grad is not None else torch.zeros_like(p) for p in discriminator.parameters()]
    assert torch.allclose(penalized, plain + 3.0 * torch.cat([grad.flatten() for grad in alone]), atol=1e-6)


def test_r1_penalty_can_be_left_out_of_an_update(tiny: TrainingConfiguration) -> None:
    methods = [with_discriminator(tiny, r1_weight=weight) for weight in (3.0, 0.0)]
    for method in methods:
        method.update_discriminator(images(), images(seed=1), torch_generator(0, "h"), penalize=False)
    assert torch.equal(*(weights(method.discriminator) for method in methods))


def test_refiner_step_leaves_the_spectral_norms_alone(tiny: TrainingConfiguration) -> None:
    method = with_discriminator(tiny, spectral_norm=True)
    before = copy.deepcopy(method.state_dict()["discriminator"])
    method.update_refiner(images(), DRAWS)
    after = method.state_dict()["discriminator"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    method.update_discriminator(images(), images(seed=1), torch_generator(0, "h"))
    after = method.state_dict()["discriminator"]
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("_v"))


@pytest.mark.parametrize("name", ["gradients", "blurred"])
def test_self_regularization_is_the_one_asked_for(name: str, tiny: TrainingConfiguration) -> None:
    method = SimGAN(tiny.model_copy(update={"self_regularization": name}), device="cpu", precision="fp32")
    with torch.no_grad():
        compared = [SELF_REGULARIZATIONS[name](batch) for batch in (method.refiner(images()), images())]
    metrics = method.update_refiner(images(), DRAWS, adversarial=False)
    assert metrics["self_regularization"].item() == pytest.approx(float((compared[0] - compared[1]).abs().mean()))


def test_without_history_and_self_regularization(tiny: TrainingConfiguration) -> None:
    """The discriminator sees fresh images only; the refiner feels the adversarial term only."""
    configuration = tiny.model_copy(update={"history_size": 0, "self_regularization_weight": 0.0})
    method, seen = SimGAN(configuration, device="cpu", precision="fp32"), list[torch.Tensor]()
    for step in range(3):
        with torch.no_grad():
            refined = method.refiner(images(seed=step))
        with method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone())):
            method.update_discriminator(images(seed=step), images(seed=9), torch_generator(0, "h", step))
        assert torch.equal(seen[2 * step], refined)
        method.update_refiner(images(seed=step), DRAWS)
    assert len(method.history) == 0
    method = SimGAN(configuration, device="cpu", precision="fp32")
    adversarial = method.objective.refiner(method.discriminator(method.refiner(images())))
    expected = torch.autograd.grad(adversarial, list(method.refiner.parameters()))
    found = gradient_of_the_refiner(method)
    assert torch.allclose(found, torch.cat([grad.flatten() for grad in expected]), atol=1e-7)


def test_a_mask_says_where_the_refiner_must_stay_near(tiny: TrainingConfiguration) -> None:
    mask = torch.zeros(6, 1, 8, 12)
    mask[..., :4] = 1
    method = SimGAN(tiny, device="cpu", precision="fp32")
    with torch.no_grad():
        expected = (method.refiner(images()) - images())[..., :4].abs().mean()
    metrics = method.update_refiner(images(), DRAWS, adversarial=False, mask=mask)
    assert metrics["self_regularization"].item() == pytest.approx(expected.item(), rel=1e-5)


def gaze(seed: int = 0) -> torch.Tensor:
    return torch.rand(6, 2, generator=torch_generator(seed, "gaze")) - 0.5


def conditional(tiny: TrainingConfiguration) -> SimGAN:
    """Its estimator says of every photograph that it looks by its first two pixels."""
    section = tiny.discriminator.model_copy(update={"condition": "gaze"})
    configuration = tiny.model_copy(update={"discriminator": section, "consistency_weight": 0.0})
    method = SimGAN(configuration, device="cpu", precision="fp32")
    method.task = lambda real: real[:, 0, 0, :2]  # type: ignore[assignment]
    return method


def test_a_conditional_discriminator_is_told_the_gaze_of_each_image(tiny: TrainingConfiguration) -> None:
    method, seen = conditional(tiny), list[torch.Tensor]()
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    method.update_refiner(images(), DRAWS, gaze=gaze())
    method.update_discriminator(images(), images(seed=1), torch_generator(0, "h"), gaze=gaze())
    for told in seen[:2]:  # the refiner's update, then refined images
        assert told.shape == (6, 3, 8, 12)
        assert torch.allclose(told[:, 1:], (2 * gaze())[:, :, None, None].expand(-1, -1, 8, 12))
    assert torch.allclose(seen[2][:, 1:, 3, 5], 2 * images(seed=1)[:, 0, 0, :2])
    assert torch.equal(seen[2][:, :1], images(seed=1))


def test_history_keeps_the_gaze_of_its_images(tiny: TrainingConfiguration) -> None:
    method, seen = conditional(tiny), list[torch.Tensor]()
    method.update_discriminator(images(), images(seed=1), torch_generator(0, "h", 0), gaze=gaze())
    held = method.history.images
    assert held is not None
    assert torch.allclose(held[:, 1:, 0, 0], 2 * gaze()[3:])
    method.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    method.update_discriminator(images(seed=3), images(seed=1), torch_generator(0, "h", 1), gaze=gaze(3))
    old = {tuple(row.tolist()) for row in 2 * gaze()[3:]}
    assert {tuple(row.tolist()) for row in seen[0][3:, 1:, 0, 0]} <= old
    assert torch.allclose(seen[0][:3, 1:, 0, 0], 2 * gaze(3)[:3])


def test_normalisation_in_the_refiner_s_update_leaves_the_statistics(tiny: TrainingConfiguration) -> None:
    method = with_discriminator(tiny, batch_norm=True)
    method.update_discriminator(images(), images(seed=1), torch_generator(0, "h"))
    before = copy.deepcopy(method.discriminator.state_dict())
    method.update_refiner(images(), DRAWS)
    assert all(torch.equal(value, before[name]) for name, value in method.discriminator.state_dict().items())
