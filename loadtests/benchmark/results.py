"""The results of a run: rows of figures by stage, and the targets, in one object that is written as JSON."""

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A figure of the run and the limit that it should respect; `measured` is None where it could not be measured."""

    name: str
    limit: str
    measured: float | None
    met: bool
    unit: str = "×"
    note: str = ""


@dataclass
class Results:
    """Rows by stage: each says what was measured (`system`, `clients`, …) and has the figures."""

    profile: str
    machine: dict[str, str]
    versions: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    # Why a stage was aborted.
    problems: dict[str, str] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)

    def add(self, stage: str, **row: Any) -> Row:
        """Add a row and return it."""
        self.rows.setdefault(stage, []).append(row)
        return row

    def find(self, stage: str, **wanted: Any) -> Row | None:
        """The first row of a stage with these values."""
        for row in self.rows.get(stage, []):
            if all(row.get(name) == value for name, value in wanted.items()):
                return row
        return None

    def value(self, stage: str, column: str, **wanted: Any) -> float | None:
        """One figure of that row, if it was measured."""
        row = self.find(stage, **wanted)
        return None if row is None or row.get(column) is None else float(row[column])

    def target(
        self, name: str, limit: float, measured: float | None, *, at_most: bool, unit: str = "×", note: str = ""
    ) -> None:
        """Add a target. It is not met if it was not measured."""
        met = measured is not None and (measured <= limit if at_most else measured >= limit)
        self.targets.append(Target(name, f"{'≤' if at_most else '≥'} {limit:g}{unit}", measured, met, unit, note))


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """The ratio of two figures, if both were measured."""
    return None if numerator is None or not denominator else numerator / denominator
