"""Output of the commands that render: labelled images of known numbers, into a folder or a store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refiner.commands.shared.reporting import progress

if TYPE_CHECKING:
    from refiner.data.labels.objects import AnnotationInfo
    from refiner.data.labels.records import Record

count_option = click.option("--count", type=click.IntRange(1), required=True, help="Number of images.")


def write_rendered(
    out: Path,
    records: Callable[[int, int], Iterator["Record"]],
    count: int,
    *,
    job: str,
    labelled: bool = True,
    info: "AnnotationInfo | None" = None,
    overwrite: bool,
) -> None:
    """Write rendered records into a folder, or a store if the name of ``out`` ends in .h5, and show the progress.

    Args:
        out: the folder or store.
        records: function from a first number and an end to the records in between.
        count: number of records.
        job: every choice that the records depend on, as one text, so that a store resumes only with the same ones.
        labelled: also write the labels into a folder; a store has those of the records.
        info: facts about the annotated objects; None if the records have other labels.
        overwrite: replace earlier renders.

    Raises:
        OutputError: other files are there, or nothing can be written.
    """
    from refiner.data.output.records_writer import write_folder, write_store
    from refiner.data.store.store_names import is_store_name

    with progress("rendering") as report:
        if is_store_name(out):
            write_store(out, records, count, job=job, info=info, overwrite=overwrite, report=report)
        else:
            every = records(0, count)
            write_folder(out, every, count, labelled=labelled, info=info, overwrite=overwrite, report=report)
