"""Objects in the cells of a label table, which can be cut out of it while all other bytes stay."""

import json
from collections.abc import Iterator, Mapping, Sequence

from refiner.core.errors import DataError
from refiner.data.annotations.edits import Edit, dumped_like
from refiner.data.labels.label_table import LabelTable
from refiner.data.labels.objects import OBJECTS
from refiner.data.labels.tables import LABELS_FILE


class TableObjects:
    """The column of objects of a label table; an :class:`refiner.data.annotations.edits.ObjectEditor`."""

    def __init__(self, table: LabelTable) -> None:
        self.table = table

    def why_fixed(self) -> str:
        """Return a reason if the table is no UTF-8."""
        return "" if self.table.is_utf8 else f"{LABELS_FILE} is not UTF-8"

    def without(self, broken: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, Edit]]:
        """Yield the changes of cells; see :class:`refiner.data.annotations.edits.ObjectEditor`.

        Raises:
            DataError: a cell has changed, or is not quoted as CSV quotes it.
        """
        for sample, numbers in broken.items():
            start, row, cells = self.table.row_text(sample)
            before = cells[OBJECTS]
            content = json.loads(before)
            dropped = set(numbers)
            content["objects"] = [each for at, each in enumerate(content["objects"]) if at not in dropped]
            old, new = (_quoted(text) for text in (before, dumped_like(content, before)))
            if row.count(old) != 1:
                raise DataError(
                    f"{self.table.path}: the objects of {sample} are not quoted as usual, so none can be dropped; save "
                    "the table again with a program that writes CSV"
                )
            at = start + row.index(old)
            yield LABELS_FILE, Edit(at, at + len(old), new)


def _quoted(text: str) -> bytes:
    escaped = text.replace('"', '""')
    return f'"{escaped}"'.encode()
