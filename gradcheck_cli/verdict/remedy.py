"""A rewriting of what was checked that the same check has confirmed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gradcheck_cli.verdict.plain import jsonable


@dataclass(frozen=True, slots=True)
class Remedy:
    """An expression written in another way: the same function, certified at points of the check, of which the check says more.

    `stage`: which is rewritten, from `expression` to `rewritten`; `others`: stages before it that are rewritten too; `stages`:
    the whole chain then, as texts. `rows`: the patterns that were applied. `before` and `after`: verdict -> number, of the same
    derivatives at the same points; `mended`: how many of them match now that didn't. `dtype`: the format in which this holds;
    `points`: how many of its points were checked, of `of`. `entrywise`: it is about one entry of a function of tensors, of
    whose formula the check is.
    """

    stage: str
    expression: str
    rewritten: str
    others: tuple[str, ...]
    stages: tuple[str, ...]
    rows: tuple[str, ...]
    causes: tuple[str, ...]
    dtype: str
    before: dict[str, int]
    after: dict[str, int]
    mended: int
    points: int
    of: int
    entrywise: bool = False

    @property
    def whole(self) -> bool:
        """Whether nothing but matches is left."""
        return set(self.after) <= {"match", "outside_domain"}

    @property
    def text(self) -> str:
        """One sentence: what to write, and what the check says of it."""
        total = sum(self.after.values())
        where = f" at {self.points:,} of {self.of:,} points" if self.points < self.of else ""
        written = ", ".join((*self.others, f"{self.stage} = {self.rewritten}"))
        says, before = "match", ""
        if not self.whole:
            says, before = (", ".join(f"{n:,} {v}" for v, n in counts.items()) for counts in (self.after, self.before))
            before = f"; before: {before}"
        where += before
        check = "the same check then"
        if self.entrywise:
            written, check = f"{written}, entry by entry", "the check of this formula"
        return f"write {written}: {check} says {says} ({total:,} check{'s' * (total != 1)}{where})"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        found = jsonable(asdict(self))
        assert isinstance(found, dict)
        return found | {"text": self.text}
