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
from refiner.training.methods.simgan import Game

DRAWS = torch_generator(0, "draws")
"""Where nothing draws."""


@pytest.fixture
def game(tiny: TrainingConfiguration) -> Game:
    return Game(tiny, device="cpu", precision="fp32")


def images(count: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, 8, 12, generator=torch_generator(seed, "images")) * 2 - 1


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in network.parameters()])


def test_refiner_step_moves_the_refiner_only(game: Game) -> None:
    refiner, discriminator = weights(game.refiner), weights(game.discriminator)
    game.update_refiner(images(), DRAWS)
    assert not torch.equal(weights(game.refiner), refiner)
    assert torch.equal(weights(game.discriminator), discriminator)
    assert all(parameter.grad is None for parameter in game.discriminator.parameters())


def test_discriminator_step_sends_no_gradient_into_the_refiner(game: Game) -> None:
    refiner, discriminator = weights(game.refiner), weights(game.discriminator)
    game.update_discriminator(images(), images(seed=1), torch_generator(0, "h"))
    assert torch.equal(weights(game.refiner), refiner)
    assert all(parameter.grad is None for parameter in game.refiner.parameters())
    assert not torch.equal(weights(game.discriminator), discriminator)


def gradient_of_the_refiner(game: Game, *, adversarial: bool = True) -> torch.Tensor:
    game.update_refiner(images(), DRAWS, adversarial=adversarial)
    return torch.cat([parameter.grad.flatten() for parameter in game.refiner.parameters()])


def test_the_adversarial_term_reaches_the_refiner(tiny: TrainingConfiguration) -> None:
    """Another discriminator gives another gradient; without the adversarial term it does not matter."""
    games = [Game(tiny, device="cpu", precision="fp32") for _ in range(4)]
    for game in games[1::2]:
        torch.nn.init.normal_(game.discriminator.head.weight)
    first, second = (gradient_of_the_refiner(game) for game in games[:2])
    assert not torch.allclose(first, second, atol=1e-6)
    alone = [gradient_of_the_refiner(game, adversarial=False) for game in games[2:]]
    assert torch.equal(*alone)


def test_refiner_gradient_is_adversarial_plus_lambda_times_regularization(tiny: TrainingConfiguration) -> None:
    def gradient(weight: float, *, adversarial: bool = True) -> torch.Tensor:
        configuration = tiny.model_copy(update={"self_regularization_weight": weight})
        return gradient_of_the_refiner(Game(configuration, device="cpu", precision="fp32"), adversarial=adversarial)

    regularization = gradient(1.0, adversarial=False)
    assert torch.allclose(gradient(5.0), gradient(0.0) + 5 * regularization, atol=1e-5)


def test_discriminator_sees_refined_images_of_past_steps(game: Game) -> None:
    """The images of the first step come back after the refiner has changed."""
    with torch.no_grad():
        first = game.refiner(images())
    seen: list[torch.Tensor] = []
    game.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for step in range(3):
        game.update_discriminator(images(seed=step), images(seed=9), torch_generator(0, "h", step))
        torch.nn.init.normal_(game.refiner.head.weight)
    late = [image for batch in seen[2::2] for image in batch]  # every second batch is real
    assert any(torch.equal(image, old) for image in late for old in first[3:])


def test_training_pulls_a_refiner_of_loss_only_to_the_identity(tiny: TrainingConfiguration) -> None:
    optimizer = tiny.refiner_optimizer.model_copy(update={"learning_rate": 0.01})
    game = Game(tiny.model_copy(update={"refiner_optimizer": optimizer}), device="cpu", precision="fp32")
    losses = [game.update_refiner(images(), DRAWS, adversarial=False)["self_regularization"].item() for _ in range(150)]
    assert losses[-1] < 0.5 * losses[0]


def test_average_follows_the_weights(game: Game) -> None:
    start = weights(game.refiner)
    game.update_refiner(images(), DRAWS)
    assert torch.allclose(weights(game.average), (start + weights(game.refiner)) / 2, atol=1e-7)  # decay 0.5
    assert game.saved_network is game.average


def test_a_loss_that_is_not_finite_stops(game: Game) -> None:
    with torch.no_grad():
        game.refiner.stem.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"not finite .*self_regularization nan"):
        game.update_refiner(images(), DRAWS)


def test_state_is_complete(tiny: TrainingConfiguration) -> None:
    first, second = (Game(tiny, device="cpu", precision="fp32") for _ in range(2))
    for step in range(3):
        first.update_refiner(images(seed=step), DRAWS)
        first.update_discriminator(images(seed=step), images(seed=9), torch_generator(0, "h", step))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for game in (first, second):
        game.update_refiner(images(seed=7), DRAWS)
        game.update_discriminator(images(seed=8), images(seed=9), torch_generator(0, "h", 3))
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


def with_discriminator(tiny: TrainingConfiguration, precision: str = "fp32", **options: object) -> Game:
    section = tiny.discriminator.model_copy(update=options)
    return Game(tiny.model_copy(update={"discriminator": section}), device="cpu", precision=precision)


@pytest.mark.parametrize("scope", list(DISCRIMINATORS))
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_discriminator_is_the_one_asked_for(scope: str, spectral_norm: bool, tiny: TrainingConfiguration) -> None:
    game = with_discriminator(tiny, scope=scope, spectral_norm=spectral_norm)
    assert isinstance(game.discriminator, DISCRIMINATORS[scope])
    assert any("_u" in name for name in game.state_dict()["discriminator"]) == spectral_norm


def test_discriminator_sees_augmented_images_in_both_updates(tiny: TrainingConfiguration) -> None:
    """The same draws in the same order; the history keeps whole images."""
    section = tiny.discriminator.augmentation.model_copy(update=AUGMENTED)
    game, seen = with_discriminator(tiny, augmentation=section), list[torch.Tensor]()
    game.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    with torch.no_grad():
        refined = game.refiner(images())
    game.update_discriminator(images(), images(seed=1), torch_generator(0, "d"))
    assert torch.equal(game.history.images, refined[3:])
    game.update_refiner(images(), torch_generator(0, "r"))
    draws = torch_generator(0, "d")
    assert torch.equal(seen[0], augment(refined, draws, **AUGMENTED))  # the history is empty and draws nothing
    assert torch.equal(seen[1], augment(images(seed=1), draws, **AUGMENTED))
    assert torch.equal(seen[2], augment(refined, torch_generator(0, "r"), **AUGMENTED))
    assert game.refiner.head.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_r1_penalty_is_weighted_and_logged(precision: str, tiny: TrainingConfiguration) -> None:
    """It adds gamma / 2 times r1_every to the gradient, in fp32 whatever the precision."""

    def gradient(**options: object) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        game = with_discriminator(tiny, precision, **options)
        figures = game.update_discriminator(images(), images(seed=1), torch_generator(0, "h"))
        return torch.cat([parameter.grad.flatten() for parameter in game.discriminator.parameters()]), figures

    (plain, without), (penalized, figures) = gradient(), gradient(r1_weight=3.0, r1_every=2)
    assert "r1" not in without
    discriminator = build_networks(tiny)[1]
    penalty = r1_penalty(discriminator, images(seed=1), torch_generator(0, "h"))
    penalty.backward()
    assert figures["r1"].item() == pytest.approx(penalty.item())
    alone = [p.grad if p.grad is not None else torch.zeros_like(p) for p in discriminator.parameters()]
    assert torch.allclose(penalized, plain + 3.0 * torch.cat([grad.flatten() for grad in alone]), atol=1e-6)


def test_r1_penalty_can_be_left_out_of_an_update(tiny: TrainingConfiguration) -> None:
    games = [with_discriminator(tiny, r1_weight=weight) for weight in (3.0, 0.0)]
    for game in games:
        game.update_discriminator(images(), images(seed=1), torch_generator(0, "h"), penalize=False)
    assert torch.equal(*(weights(game.discriminator) for game in games))


def test_refiner_step_leaves_the_spectral_norms_alone(tiny: TrainingConfiguration) -> None:
    game = with_discriminator(tiny, spectral_norm=True)
    before = copy.deepcopy(game.state_dict()["discriminator"])
    game.update_refiner(images(), DRAWS)
    after = game.state_dict()["discriminator"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    game.update_discriminator(images(), images(seed=1), torch_generator(0, "h"))
    after = game.state_dict()["discriminator"]
    assert not any(torch.equal(before[name], after[name]) for name in before if name.endswith("_v"))


@pytest.mark.parametrize("name", ["gradients", "blurred"])
def test_self_regularization_is_the_one_asked_for(name: str, tiny: TrainingConfiguration) -> None:
    game = Game(tiny.model_copy(update={"self_regularization": name}), device="cpu", precision="fp32")
    with torch.no_grad():
        compared = [SELF_REGULARIZATIONS[name](batch) for batch in (game.refiner(images()), images())]
    figures = game.update_refiner(images(), DRAWS, adversarial=False)
    assert figures["self_regularization"].item() == pytest.approx(float((compared[0] - compared[1]).abs().mean()))


def test_without_history_and_self_regularization(tiny: TrainingConfiguration) -> None:
    """The discriminator sees fresh images only; the refiner feels the adversarial term only."""
    configuration = tiny.model_copy(update={"history_size": 0, "self_regularization_weight": 0.0})
    game, seen = Game(configuration, device="cpu", precision="fp32"), list[torch.Tensor]()
    for step in range(3):
        with torch.no_grad():
            refined = game.refiner(images(seed=step))
        with game.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone())):
            game.update_discriminator(images(seed=step), images(seed=9), torch_generator(0, "h", step))
        assert torch.equal(seen[2 * step], refined)
        game.update_refiner(images(seed=step), DRAWS)
    assert len(game.history) == 0
    game = Game(configuration, device="cpu", precision="fp32")
    adversarial = game.objective.refiner(game.discriminator(game.refiner(images())))
    expected = torch.autograd.grad(adversarial, list(game.refiner.parameters()))
    found = gradient_of_the_refiner(game)
    assert torch.allclose(found, torch.cat([grad.flatten() for grad in expected]), atol=1e-7)


def test_a_mask_says_where_the_refiner_must_stay_near(tiny: TrainingConfiguration) -> None:
    mask = torch.zeros(6, 1, 8, 12)
    mask[..., :4] = 1
    game = Game(tiny, device="cpu", precision="fp32")
    with torch.no_grad():
        expected = (game.refiner(images()) - images())[..., :4].abs().mean()
    figures = game.update_refiner(images(), DRAWS, adversarial=False, mask=mask)
    assert figures["self_regularization"].item() == pytest.approx(expected.item(), rel=1e-5)


def gaze(seed: int = 0) -> torch.Tensor:
    return torch.rand(6, 2, generator=torch_generator(seed, "gaze")) - 0.5


def conditional(tiny: TrainingConfiguration) -> Game:
    """Its estimator says of every photograph that it looks by its first two pixels."""
    section = tiny.discriminator.model_copy(update={"condition": "gaze"})
    configuration = tiny.model_copy(update={"discriminator": section, "consistency_weight": 0.0})
    game = Game(configuration, device="cpu", precision="fp32")
    game.task = lambda photographs: photographs[:, 0, 0, :2]  # type: ignore[assignment]
    return game


def test_a_conditional_discriminator_is_told_the_gaze_of_each_image(tiny: TrainingConfiguration) -> None:
    game, seen = conditional(tiny), list[torch.Tensor]()
    game.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    game.update_refiner(images(), DRAWS, gaze=gaze())
    game.update_discriminator(images(), images(seed=1), torch_generator(0, "h"), gaze=gaze())
    for told in seen[:2]:  # the refiner's update, then refined images
        assert told.shape == (6, 3, 8, 12)
        assert torch.allclose(told[:, 1:], (2 * gaze())[:, :, None, None].expand(-1, -1, 8, 12))
    assert torch.allclose(seen[2][:, 1:, 3, 5], 2 * images(seed=1)[:, 0, 0, :2])
    assert torch.equal(seen[2][:, :1], images(seed=1))


def test_history_keeps_the_gaze_of_its_images(tiny: TrainingConfiguration) -> None:
    game, seen = conditional(tiny), list[torch.Tensor]()
    game.update_discriminator(images(), images(seed=1), torch_generator(0, "h", 0), gaze=gaze())
    held = game.history.images
    assert held is not None
    assert torch.allclose(held[:, 1:, 0, 0], 2 * gaze()[3:])
    game.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    game.update_discriminator(images(seed=3), images(seed=1), torch_generator(0, "h", 1), gaze=gaze(3))
    old = {tuple(row.tolist()) for row in 2 * gaze()[3:]}
    assert {tuple(row.tolist()) for row in seen[0][3:, 1:, 0, 0]} <= old
    assert torch.allclose(seen[0][:3, 1:, 0, 0], 2 * gaze(3)[:3])


def test_normalisation_in_the_refiner_s_update_leaves_the_statistics(tiny: TrainingConfiguration) -> None:
    game = with_discriminator(tiny, batch_norm=True)
    game.update_discriminator(images(), images(seed=1), torch_generator(0, "h"))
    before = copy.deepcopy(game.discriminator.state_dict())
    game.update_refiner(images(), DRAWS)
    assert all(torch.equal(value, before[name]) for name, value in game.discriminator.state_dict().items())
