"""The report of an import, row by row, as CSV that no spreadsheet runs."""

import csv
from collections import Counter
from dataclasses import dataclass, field
from typing import TextIO

from exhookadmin.fleet.formats.csv_rows import is_formula
from exhookadmin.fleet.outcomes import Told
from exhookadmin.fleet.records import Finding, Kind

COLUMNS = ("line", "name", "outcome", "field", "reason")
SHOWN_FINDINGS = 50
"""So many of each kind are shown on the terminal; the file has them all."""


@dataclass
class Report:
    """Sums, the first findings of each kind, and every row in a file, where one was asked for."""

    file: TextIO | None = None
    outcomes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rows = csv.writer(self.file) if self.file is not None else None
        if self._rows is not None:
            self._rows.writerow(COLUMNS)

    def finding(self, found: Finding) -> None:
        """Notes something that was found in the file."""
        self.kinds[found.kind] += 1
        if self.kinds[found.kind] <= SHOWN_FINDINGS:
            self.findings.append(found)
        self._write(found.line, "", found.kind.value, found.field, found.reason)

    def told(self, told: Told) -> None:
        """Notes what became of a record."""
        self.outcomes[told.outcome.value] += 1
        if told.reason:
            self.findings.append(Finding(Kind.REFUSED, told.line, told.field, told.reason))
        self._write(told.line, told.name, told.outcome.value, told.field, told.reason)

    def _write(self, line: int, *cells: str) -> None:
        if self._rows is not None:
            self._rows.writerow([line, *(f"'{cell}" if is_formula(cell) else cell for cell in cells)])
