"""One test of all rows of a table, where each takes microseconds and a test of its own a thousand times that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Row = TypeVar("Row")


def every(rows: Iterable[Row], name: Callable[[Row], str] = str) -> Callable[[Callable[[Row], None]], Callable[[], None]]:
    """The claim, made of each of the rows by one test, which fails with the names of all of which it doesn't hold, and why. A
    new row is tested by being there."""

    def decorated(claim: Callable[[Row], None]) -> Callable[[], None]:
        def test() -> None:
            tried, failed = 0, []
            for row in rows:
                tried += 1
                try:
                    claim(row)
                except Exception as problem:
                    failed.append(f"{name(row)}: {type(problem).__name__}: {problem}")
            assert tried, "there is no row"
            assert not failed, "\n".join(failed)

        test.__name__, test.__qualname__, test.__doc__ = claim.__name__, claim.__qualname__, claim.__doc__
        test.__module__ = claim.__module__
        test.__dict__.update(claim.__dict__)  # the marks
        return test

    return decorated
