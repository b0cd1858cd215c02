"""A folder with a refiner and its model card, which can be uploaded to a model hub as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refiner.core.errors import WrongOutputError
from refiner.core.files import write_text
from refiner.inference.backends.export import export_refiner
from refiner.models.files.lookup import REFINER_FILE
from refiner.models.files.model_card import (
    CARD_FILE,
    REPOSITORY,
    CardTerms,
    TrainingData,
    check_verdict,
    model_card,
    warn_of_licences,
)
from refiner.models.files.refiner_file import RefinerFile


def share_refiner(
    refiner: RefinerFile,
    path: Path,
    terms: CardTerms,
    *,
    data: Sequence[TrainingData] | None = None,
    verdict: Mapping[str, Any] | None = None,
    repository: str = REPOSITORY,
    overwrite: bool = False,
) -> list[Path]:
    """Write a refiner with its model card into a folder that can be uploaded as it is.

    Args:
        refiner: the refiner.
        path: the folder; or a file in it, whose suffix says the format, see
            :func:`refiner.inference.backends.export.export_refiner`.
        terms: what its owner states.
        data: data sets that it was trained on; None if they are not known.
        verdict: output of ``refiner evaluate --json`` for this refiner.
        repository: where the folder will be on the hub, for the example on the card.
        overwrite: replace files that exist.

    Returns:
        The files; the card is the last.

    Raises:
        WrongInputError: the verdict is about another refiner.
        OutputError: a file exists and ``overwrite`` is False, or cannot be written.
        DeviceError: the format needs an extra that is not installed.
    """
    file = path / REFINER_FILE if path.is_dir() or not path.suffix else path
    card = file.with_name(CARD_FILE)
    # Refuse an old card before anything is written: it would speak of another refiner.
    if card.exists() and not overwrite:
        raise WrongOutputError(f"{card} already exists; choose another folder, or pass --overwrite to replace it")
    if verdict is not None:
        check_verdict(verdict, refiner)
    warn_of_licences(terms, data)
    files = export_refiner(refiner, file, overwrite=overwrite)
    write_text(card, model_card(refiner, terms, data=data, verdict=verdict, repository=repository))
    return [*files, card]
