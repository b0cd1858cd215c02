"""Count of the renders without a refined image, by the reasons in ``rejected.csv``."""

import csv
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from refiner.core.errors import DataError
from refiner.data.output.destination import rejects_list


@dataclass(frozen=True)
class Missing:
    """Renders without a refined image.

    Attributes:
        renders: number of all renders of the data set.
        by_drift: number of those that ``--max-drift`` rejected, by ``rejected.csv``.
        doubtful: number of these whose drift score is above the limit of the verdict.
        otherwise: number of those that were rejected for another reason, by ``rejected.csv``.
        unexplained: names of the others.
        orphans: number of refined images without a render.
    """

    renders: int = 0
    by_drift: int = 0
    doubtful: int = 0
    otherwise: int = 0
    unexplained: tuple[str, ...] = ()
    orphans: int = 0

    def sentences(self) -> list[str]:
        """Return what is missing, in full sentences; none if nothing is."""
        found = []
        if missing := self.by_drift + self.otherwise + len(self.unexplained):
            causes = [f"--max-drift rejected {self.by_drift:,}"] if self.by_drift else []
            causes += [f"{self.otherwise:,} could not be refined"] if self.otherwise else []
            if self.unexplained:
                causes.append(f"no reason is known for {len(self.unexplained):,}, such as {self.unexplained[0]}")
            found.append(
                f"{missing:,} of {self.renders:,} renders ({missing / self.renders:.1%}) have no refined image: "
                f"{', '.join(causes)}. All metrics hold for the others."
            )
        if self.orphans:
            found.append(f"{self.orphans:,} refined images have no render of the same name and are left out.")
        return found


def count_missing(refined: Path, names: Sequence[str], found: Set[str], max_score: float) -> Missing:
    """Count the renders without a refined image, by the reasons in ``rejected.csv``."""
    reasons: dict[str, tuple[str, str]] = {}
    table = rejects_list(refined)
    if table.is_file():
        try:
            with table.open(encoding="utf-8", newline="") as stream:
                reasons = {row["file"]: (row["stage"], row["reason"]) for row in csv.DictReader(stream)}
        except (OSError, KeyError, ValueError, csv.Error) as error:
            raise DataError(f"{table} cannot be read as a table of rejected images: {error}") from error
    absent = [name for name in names if name not in found]
    drifted = [reasons[name][1] for name in absent if reasons.get(name, ("", ""))[0] == "drift"]
    # A reason without a score counts as doubtful.
    scores = [re.search(r"drift score ([\d.]+\d)", reason) for reason in drifted]
    return Missing(
        renders=len(names),
        by_drift=len(drifted),
        doubtful=sum(score is None or float(score[1]) > max_score for score in scores),
        otherwise=sum(name in reasons for name in absent) - len(drifted),
        unexplained=tuple(name for name in absent if name not in reasons),
        orphans=len(found - set(names)),
    )
