"""A table of explanations: a row for each picture and target."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from eli5k.base import Explanation

CSV = ".csv"
COLUMNS = (
    "file",
    "target",
    "score",
    "probability",
    "method",
    "layer",
    "output",
    "check",
    "warnings",
)
HEADER = ",".join(COLUMNS)


def rows_of(explanations: Sequence[Explanation]) -> Iterator[list[Any]]:
    """Yield the rows of a picture.

    Examples
    --------
    >>> from eli5k.base import TargetExplanation
    >>> cat = TargetExplanation("cat", score=0.9, proba=0.9)
    >>> expl = Explanation("net", method="Grad-CAM", targets=[cat], layer="conv", source="a.jpg")
    >>> list(rows_of([expl]))
    [['a.jpg', 'cat', 0.9, 0.9, 'Grad-CAM', 'conv', None, None, '']]
    """
    for expl in explanations:
        for part in (expl, *expl.others):
            for target in part.targets or ():
                yield [
                    expl.source,
                    target.target,
                    target.score,
                    target.proba,
                    part.method,
                    part.layer,
                    part.output,
                    target.check and target.check.verdict,
                    " ".join(map(str, part.warnings)),
                ]


def as_csv(rows: Sequence[Sequence[Any]]) -> str:
    """Write the column names and the rows as comma-separated values.

    Examples
    --------
    >>> as_csv([["a, b.jpg", 3, 0.5, None, "Grad-CAM", "conv", None, None, ""]]).splitlines()[1]
    '"a, b.jpg",3,0.5,,Grad-CAM,conv,,,'
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return file.getvalue()
