"""What a run has found: rows of figures by stage, and what it is asked to reach, in one JSON-able object."""

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Criterion:
    """One named figure of the run beside what is demanded of it; `measured` None: it could not be measured."""

    name: str
    demanded: str
    measured: float | None
    kept: bool
    unit: str = "×"
    note: str = ""


@dataclass
class Results:
    """Rows by stage: each row names what was measured (`contender`, `clients`, …) and the figures."""

    plan: str
    machine: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    criteria: list[Criterion] = field(default_factory=list)
    # Stages that broke off, with the reason.
    problems: dict[str, str] = field(default_factory=dict)

    def add(self, stage: str, **row: Any) -> Row:
        """Keep a row."""
        self.rows.setdefault(stage, []).append(row)
        return row

    def find(self, stage: str, **wanted: Any) -> Row | None:
        """The row in which all of these are so."""
        for row in self.rows.get(stage, []):
            if all(row.get(name) == value for name, value in wanted.items()):
                return row
        return None

    def value(self, stage: str, column: str, **wanted: Any) -> float | None:
        """One figure."""
        row = self.find(stage, **wanted)
        return None if row is None or row.get(column) is None else float(row[column])

    def ratio(self, above: float | None, below: float | None) -> float | None:
        """Of two figures, if both are there."""
        return None if above is None or not below else above / below

    def demand(
        self, name: str, limit: float, measured: float | None, *, at_most: bool, unit: str = "×", note: str = ""
    ) -> None:
        """Name a figure that is demanded; one that was not measured is not kept."""
        kept = measured is not None and (measured <= limit if at_most else measured >= limit)
        self.criteria.append(Criterion(name, f"{'≤' if at_most else '≥'} {limit:g}{unit}", measured, kept, unit, note))
