"""What a run found, as plain data: a Report holds columns, whose entries are its checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.errors import VerdictError, boundary
from gradcheck_cli.verdict.column import VERDICTS, Check, Column
from gradcheck_cli.verdict.plain import intentions, jsonable
from gradcheck_cli.verdict.remedy import Remedy
from gradcheck_cli.verdict.verdicts import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

SCHEMA = 1


class Checks(Sequence[Check]):
    """All entries of some columns, made on demand: column by column, point by point."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._ends = np.cumsum([len(c) for c in columns]) if columns else np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = int(np.searchsorted(self._ends, index, side="right"))
        start = int(self._ends[which - 1]) if which else 0
        return self._columns[which].check(index - start)

    def __iter__(self) -> Iterator[Check]:
        for column in self._columns:
            for index in range(len(column)):
                yield column.check(index)


@dataclass(repr=False, eq=False)
class Report:
    """The outcome of one command. `problem` describes what was asked (JSON's `problem`), `notes` are lines for the reader.

    `str(report)` is the whole text, `repr(report)` one line; a notebook shows a table. Two are equal where they say the same.
    `sought`: the remedies, or what looks for them when they are read: that takes longer than many a check.
    """

    command: str
    problem: dict[str, Any]
    columns: list[Column]
    versions: dict[str, str]
    strict: bool = False
    notes: list[str] = field(default_factory=list)
    sought: list[Remedy] | Callable[[], list[Remedy]] = field(default_factory=list)

    def __getstate__(self) -> dict[str, Any]:
        """Copies, and what another process gets, hold what was found."""
        return {**self.__dict__, "sought": self.remedies}

    @property
    def remedies(self) -> list[Remedy]:
        """What to write instead, and what the same check says of that. Looked for once."""
        if callable(self.sought):
            self.sought = self.sought()
        return self.sought

    @property
    def checks(self) -> Checks:
        return Checks(self.columns)

    @property
    def counts(self) -> dict[str, int]:
        """Number of checks by verdict, worst first; verdicts that don't occur are left out."""
        total: Counter[Verdict] = Counter()
        for column in self.columns:
            total.update(column.counts())
        return {v.value: total[v] for v in reversed(VERDICTS) if total[v]}

    @property
    def declared(self) -> list[str]:
        """What the user says that the code is meant to do otherwise than it looks: sentences."""
        return intentions(self.problem)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; outside_domain only where nothing else was found, undecided where nothing was checked at all."""
        found = {Verdict(v) for v in self.counts}
        judged = found - {Verdict.OUTSIDE_DOMAIN}
        if judged:
            return max(judged, key=lambda v: v.severity)
        return Verdict.OUTSIDE_DOMAIN if found else Verdict.UNDECIDED

    @property
    def exit_code(self) -> int:
        """0 all passed, 1 a mismatch (or imprecise under strict), 3 something undecided or nothing checked."""
        verdict = self.verdict
        if verdict is Verdict.MISMATCH or (self.strict and Verdict.IMPRECISE in self.counts):
            return 1
        return 0 if verdict.passes else 3

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    def __bool__(self) -> bool:
        """As `ok`: `assert check_function(f)` must not pass where the check doesn't."""
        return self.ok

    def raise_for_verdict(self) -> None:
        """Raise VerdictError, with the report as its message, unless everything passed."""
        if not self.ok:
            raise VerdictError(str(self))

    def to_dict(self, checks: Iterable[Check] | None = None) -> dict[str, Any]:
        """What `--format json` writes (docs/json.md), as plain Python values. `checks`: those to list, if not all."""
        return {
            "schema": SCHEMA,
            "command": self.command,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "problem": jsonable(self.problem),
            "checks": [check.to_dict() for check in (self.checks if checks is None else checks)],
            "counts": self.counts,
            **({"summary": summary} if (summary := [column.summary() for column in self.columns if column.tally]) else {}),
            "notes": list(self.notes),
            "remedies": [remedy.to_dict() for remedy in self.remedies],
            "versions": dict(self.versions),
        }

    @boundary
    def to_dataframe(self) -> DataFrame:
        """A table of pandas (an extra: gradcheck-cli[notebook]) with a row for each check, in their order, and the columns of a
        Check, with one for each input."""
        found: DataFrame = _display().frame(self)
        return found

    @boundary
    def plot(self, ax: Axes | None = None) -> Figure:
        """The picture that `--plot` writes, as a Figure of matplotlib (an extra: gradcheck-cli[plot]). `ax`: axes of your own,
        for a picture of one panel."""
        found: Figure = _display().figure(self, ax)
        return found

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Report) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it can be changed

    def __str__(self) -> str:
        return str(_display().text(self))

    def __repr__(self) -> str:
        return str(_display().line(self))

    def _repr_html_(self) -> str:
        return str(_display().as_html(self))

    def _repr_markdown_(self) -> str:
        return str(_display().as_markdown(self))


def _display() -> ModuleType:
    """How a report shows itself stands in `output`, below this layer; it is asked here, and nowhere else."""
    from gradcheck_cli.output import display

    return display


def versions() -> dict[str, str]:
    """The versions that a result depends on."""
    return dict(_versions())


@cache
def _versions() -> Mapping[str, str]:
    """Read once: what is imported stays so while the process runs, and finding a distribution takes a millisecond."""
    from importlib.metadata import PackageNotFoundError, version

    from gradcheck_cli import __version__  # of the code that runs, which an installed distribution's metadata needn't be

    found = {"gradcheck": __version__}
    for name in ("torch", "sympy", "python-flint", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
