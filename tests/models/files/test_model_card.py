"""The model card: everything that is known, nothing that is not, and no place of this machine."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from huggingface_hub import ModelCard

from refiner.commands import main
from refiner.config.training import TrainingConfiguration
from refiner.core.errors import UsageError
from refiner.data.conversion import Conversion
from refiner.data.convert import convert
from refiner.inference.refiner import Refiner
from refiner.models.files.model_card import CardTerms, TrainingData, model_card, training_data
from refiner.models.files.refiner_file import load_refiner
from refiner.training.train import train

TERMS = CardTerms("apache-2.0")

VERDICT: dict[str, Any] = {
    "command": "evaluate",
    "verdict": {"decision": "use with rejection", "reasons": ["The labels of 3.0% of the images may be wrong."]},
    "metrics": [
        {
            "key": "moved",
            "name": "drift of the pupil",
            "unit": "px",
            "value": {"mean": 0.25, "low": 0.2, "high": 0.3},
            "reference": {"mean": 0.0, "low": 0.0, "high": 0.0},
            "baseline": None,
        },
        {
            "key": "swd",
            "name": "SWD",
            "unit": "",
            "value": {"mean": 1.5, "low": None, "high": None},
            "reference": None,
            "baseline": None,
        },
    ],
    "notes": ["The intervals are over 20 clusters by day, for this person only."],
    "images": 1200,
}


@pytest.fixture
def run(tiny: TrainingConfiguration, real: Path, tmp_path: Path) -> Path:
    convert(real, tmp_path / "photos.h5", Conversion())
    data = tiny.data.model_copy(update={"real": tmp_path / "photos.h5"})
    train(tiny.model_copy(update={"data": data}), tmp_path / "run", device="cpu")
    return tmp_path / "run"


def card_of(run: Path, terms: CardTerms = TERMS, verdict: Any = None) -> str:
    return model_card(load_refiner(run), terms, data=training_data(run), verdict=verdict)


def test_a_run_s_card_knows_network_training_and_data(run: Path) -> None:
    card = card_of(run)
    assert "| synthetic | synthetic | 20 | not stated |" in card
    assert "| real | photos.h5 | 17 | not stated |" in card
    assert load_refiner(run).digest() in card
    assert "- `batch_size`: 6" in card
    assert "- `label_smoothing`" not in card  # at its default
    assert "The weights are of step 11 of 11, the last weights, trained in fp32." in card
    assert "was not evaluated" in card
    assert str(run.parent) not in card


def test_the_hub_s_library_reads_the_metadata(run: Path) -> None:
    terms = CardTerms("other", "my-licence", "LICENSE", ("someone/photos", "renders"))
    found = ModelCard(card_of(run, terms, VERDICT)).data
    assert (found.library_name, found.pipeline_tag) == ("simgan-refiner", "image-to-image")
    assert (found.license, found.license_name, found.license_link) == ("other", "my-licence", "LICENSE")
    assert found.datasets == ["someone/photos", "renders"]
    assert found.tags == ["sim-to-real", "synthetic-data", "domain-adaptation", "simgan"]
    assert found.metrics == ["moved", "swd"]
    results = {each.metric_type: (each.metric_name, each.metric_value) for each in found.eval_results}
    assert results == {"moved": ("drift of the pupil, px", 0.25), "swd": ("SWD", 1.5)}
    assert {each.task_type for each in found.eval_results} == {"image-to-image"}


def test_without_an_evaluation_the_metadata_claim_nothing(run: Path) -> None:
    front = yaml.safe_load(card_of(run).split("---")[1])
    assert front == {
        "library_name": "simgan-refiner",
        "license": "apache-2.0",
        "pipeline_tag": "image-to-image",
        "tags": ["sim-to-real", "synthetic-data", "domain-adaptation", "simgan"],
    }


def test_a_verdict_is_shown_with_its_metrics(run: Path) -> None:
    card = card_of(run, verdict=VERDICT)
    assert "**use with rejection**" in card
    assert "- The labels of 3.0% of the images may be wrong." in card
    assert "| drift of the pupil, px | 0.25 [0.2, 0.3] | 0 [0, 0] |  |" in card
    assert "| SWD | 1.5 |  |  |" in card  # without bounds
    assert "\nThe intervals are over 20 clusters by day, for this person only.\n" in card
    assert "on 1,200 renders" in card
    assert "was not evaluated" not in card


def test_a_file_alone_does_not_know_its_data(run: Path) -> None:
    assert "made from a refiner file only" in card_of(run / "refiner.safetensors")


def test_data_that_are_gone_are_said_to_be(run: Path) -> None:
    (run.parent / "photos.h5").unlink()
    assert "| real | photos.h5 | no longer available | unknown |" in card_of(run)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (("Apache 2.0",), "'Apache 2.0' is not the name of a licence on the hub"),
        (("",), "is not the name of a licence"),
        (("other",), "needs a name"),
        (("mit", "my-licence"), "needs other"),
        (("mit", None, "LICENSE"), "needs other"),
        (("mit", None, None, ("a/b/c",)), "expected OWNER/NAME"),
    ],
)
def test_terms_that_the_hub_would_refuse_are_refused(terms: tuple[Any, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        CardTerms(*terms)


@pytest.mark.parametrize(
    ("license", "licence_of_data", "warns"),
    [
        ("mit", "CC BY-NC-SA 4.0", True),
        ("mit", "research use, where UnityEyes rendered it", True),
        ("cc-by-nc-4.0", "CC BY-NC-SA 4.0", False),
        ("mit", "not stated", False),
        ("mit", "none needed", False),
    ],
)
def test_free_terms_for_weights_from_research_data_are_warned_of(
    license: str, licence_of_data: str, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    from refiner.models.files.model_card import warn_of_licences

    with caplog.at_level(logging.WARNING):
        warn_of_licences(CardTerms(license), [TrainingData("real", "photos", "17", licence_of_data)])
    assert (f"trained on photos, whose licence is '{licence_of_data}', and you state mit" in caplog.text) == warns


def test_export_writes_a_folder_for_the_hub(run: Path, tmp_path: Path) -> None:
    judged = tmp_path / "verdict.json"
    judged.write_text(json.dumps(VERDICT))
    out = tmp_path / "shared"
    stated = ["--card", "--license", "other", "--license-name", "mine", "--dataset", "a/b", "--verdict", str(judged)]
    arguments = ["export", str(run), str(out), *stated]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert result.output.split() == [str(out / "refiner.safetensors"), str(out / "README.md")]
    assert (out / "refiner.safetensors").read_bytes() == (run / "refiner.safetensors").read_bytes()
    terms = CardTerms("other", "mine", None, ("a/b",))
    assert (out / "README.md").read_text() == card_of(run, terms, VERDICT)
    assert Refiner.from_pretrained(out, device="cpu").metadata == load_refiner(run).metadata
    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2
    assert "already exists" in again.output
    assert CliRunner().invoke(main, [*arguments, "--overwrite"]).exit_code == 0


def test_a_named_file_gets_its_card_beside_it(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "shared" / "eyes.safetensors"
    arguments = ["export", str(run), str(out), "--card", "--license", "mit"]
    result = CliRunner().invoke(main, arguments)
    assert result.output.split() == [str(out), str(out.with_name("README.md"))]
    out.unlink()
    refused = CliRunner().invoke(main, arguments)
    assert (refused.exit_code, out.exists()) == (2, False)  # the card is in the way: nothing is written


def test_export_warns_of_the_licences_of_the_training_data(
    tmp_path: Path, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import h5py

    with h5py.File(run.parent / "photos.h5", "r+") as file:
        file.attrs["licence"] = "CC BY-NC-SA 4.0"
    result = CliRunner().invoke(main, ["export", str(run), str(tmp_path / "shared"), "--card", "--license", "mit"])
    assert result.exit_code == 0
    assert "trained on photos.h5, whose licence is 'CC BY-NC-SA 4.0'" in caplog.text
    assert "| real | photos.h5 | 17 | CC BY-NC-SA 4.0 |" in (tmp_path / "shared" / "README.md").read_text()


@pytest.mark.parametrize("text", ["", "[]", '{"command": "inspect"}', '{"command": "evaluate"}'])
def test_another_file_is_no_verdict(text: str, run: Path, tmp_path: Path) -> None:
    judged = tmp_path / "verdict.json"
    judged.write_text(text)
    out = tmp_path / "shared"
    arguments = ["export", str(run), str(out), "--card", "--license", "mit", "--verdict", str(judged)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "refiner evaluate --json > FILE" in result.output
    assert "Expecting" not in result.output
    assert not out.exists()


def test_a_verdict_on_other_weights_is_refused(run: Path, tmp_path: Path) -> None:
    judged = tmp_path / "verdict.json"
    arguments = ["export", str(run), str(tmp_path / "shared"), "--card", "--license", "mit", "--verdict", str(judged)]
    judged.write_text(json.dumps({**VERDICT, "refiner": "0" * 64}))
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "the verdict is about another refiner" in result.output
    assert not (tmp_path / "shared").exists()
    names = {"synthetic": "renders", "refined": "run", "real": "photos.h5"}
    judged.write_text(json.dumps({**VERDICT, "refiner": load_refiner(run).digest(), "data": names}))
    assert CliRunner().invoke(main, arguments).exit_code == 0
    card = (tmp_path / "shared" / "README.md").read_text()
    assert "The renders were renders, the real images photos.h5." in card
    assert ModelCard(card).data.eval_results[0].dataset_name == "renders and photos.h5"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--verdict", "verdict.json"], "--verdict is only used in the model card; add --card"),
        (["--license", "mit"], "--license is only used in the model card; add --card"),
        (["--dataset", "a/b"], "--dataset is only used in the model card; add --card"),
        (["--card"], "--card needs the licence of the weights, which only you can state"),
        (["--card", "--license", "Apache"], "'Apache' is not the name of a licence on the hub"),
    ],
)
def test_options_of_the_card_are_checked_before_anything_is_written(
    options: list[str], words: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("verdict.json").write_text(json.dumps(VERDICT))
    result = CliRunner().invoke(main, ["export", str(run), "r.safetensors", *options])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert not Path("r.safetensors").exists()
