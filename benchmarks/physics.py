"""Claim: no false alarm on formulas that we didn't write: every gradient and every mixed second partial derivative.

    python benchmarks/physics.py CORPUS.jsonl [--points 20] [--spec physics.toml] [--results physics.jsonl] [--workers N]

CORPUS holds a JSON object a line: `id`, `expression`, and `ranges`, name -> [lowest, highest]. A spec is made of it: a check
of the gradient for each formula and one of the mixed second partial (in both orders) for each pair of its variables, in float64
and float32 at seeded points of the ranges, and run as `gradcheck run` does. It prints how often each verdict was found, every
mismatch and undecided entry that the outcomes keep (one a check), to be read, and the worst of the others. Every mismatch kept
is held against a plain difference quotient at 20,000 bits, in which no derivative rule takes part.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

from flint import arb, ctx

from gradcheck_cli.errors import InputError
from gradcheck_cli.exact.values import Values
from gradcheck_cli.language.chain import link
from gradcheck_cli.suite.execute import Outcome
from gradcheck_cli.suite.run import Plan, collect, run

BITS, STEP = 20_000, -3000
"""Precision and binary exponent of the step of difference quotients: derivatives of up to 10**600 come close to theirs."""

WORST = 12
"""Entries of a verdict that are shown."""


def spec(formula: dict[str, Any]) -> Iterator[str]:
    """The checks of one formula as TOML."""
    expression = json.dumps(formula["expression"])
    try:
        names = link([formula["expression"]]).inputs
    except InputError:  # the check says what
        names = tuple(formula["ranges"])
    ranges = {name: formula["ranges"][name] for name in names}
    domain = ", ".join(f"{name} = [{low}, {high}]" for name, (low, high, *_) in ranges.items())
    asked = [("grad", "", ""), *(("mixed", f" by {a},{b}", f'wrt = "{a},{b}"\n') for a, b in combinations(names, 2))]
    for kind, suffix, wrt in asked:
        name = json.dumps(f"{formula['id']}{suffix}")
        yield f"[[check]]\nname = {name}\n{kind} = {expression}\n{wrt}domain = {{{domain}}}\n"


def entries(outcomes: tuple[Outcome, ...]) -> Iterator[tuple[Outcome, dict[str, Any]]]:
    """What the outcomes kept: the worst entries that don't match."""
    for outcome in outcomes:
        yield from ((outcome, check) for check in (outcome.report or {"checks": []})["checks"])


def told(outcome: Outcome, check: dict[str, Any]) -> str:
    """One entry on a line."""
    point = ", ".join(f"{name}={value:.4g}" for name, value in check["point"].items())
    numbers = f"exact {check['exact']}, autograd {check['autograd']} ({check['dtype']})"
    ulps = check["error_ulps"]
    error = f", {ulps:.3g} ulp" if isinstance(ulps, float) else ""
    return f"  {outcome.name}: {check['quantity']} at {point}: {numbers}{error} {check['detail'] or ''}"


def quotient(expression: str, check: dict[str, Any]) -> Any:
    """The central difference quotient of the derivative's order at the check's point, as a ball."""
    values, names = Values(link([expression], output="f")), check["wrt"]
    with ctx.workprec(BITS):
        h, total = arb(2) ** STEP, arb(0)
        point = {name: arb(float(value)) for name, value in check["point"].items()}
        for signs in product((-1, 1), repeat=len(names)):
            total += math.prod(signs) * values(point, {name: h * sign for name, sign in zip(names, signs, strict=True)})
        return total / (2 * h) ** len(names)


def confirmed(outcome: Outcome, check: dict[str, Any]) -> bool:
    """Whether the quotient gives what the check calls exact, and autograd's value isn't that."""
    if check["exact"] is None or check["exact"] in ("inf", "-inf"):
        return False
    digits = max(len(check["exact"].partition("e")[0].lstrip("-0.").replace(".", "")), 5)
    with ctx.workprec(BITS):
        found, exact = quotient(str(outcome.target), check), arb(check["exact"])
        tolerance = abs(exact) * arb(10) ** (2 - digits)
        close = abs(found - exact) <= tolerance + arb(10) ** -320
        return bool(close) and not bool(abs(arb(float(check["autograd"])) - exact) <= tolerance)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--spec", type=Path, default=Path("physics.toml"))
    parser.add_argument("--results", type=Path, default=Path("physics.jsonl"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--every", type=int, default=1, help="only every N-th formula")
    given = parser.parse_args()
    formulas = [json.loads(line) for line in given.corpus.read_text(encoding="utf-8").splitlines()][:: given.every]
    defaults = f'[defaults]\nsample = {given.points}\ndtype = ["float64", "float32"]\n\n'
    given.spec.write_text(defaults + "\n".join(check for formula in formulas for check in spec(formula)), encoding="utf-8")
    checks = collect([str(given.spec)])
    print(f"{len(formulas):,} formulas, {len(checks):,} checks")

    def observe(outcome: Outcome, done: int, total: int) -> None:
        if done % 200 == 0 or done == total:
            print(f"  {done:,} of {total:,}", flush=True)

    suite = run(checks, Plan(workers=given.workers, results=given.results), observe)
    print(f"{suite.seconds:.0f} s, {len(suite.outcomes) / suite.seconds:.1f} checks a second; exit code {suite.exit_code}")
    print("checks:", dict(suite.counts))
    verdicts: Counter[str] = Counter()
    for outcome in suite.outcomes:
        verdicts.update(outcome.counts)
    print(f"derivatives at points: {verdicts.total():,}:", dict(verdicts.most_common()))
    for outcome in suite.outcomes:
        if outcome.fault is not None:
            print(f"  {outcome.fault}: {outcome.name}: {outcome.error}")
    refuted = [(outcome, check) for outcome, check in entries(suite.outcomes) if check["verdict"] == "mismatch"]
    doubtful = [(outcome, check) for outcome, check in refuted if not confirmed(outcome, check)]
    print(f"mismatches kept: {len(refuted):,}; confirmed by a difference quotient: all but {len(doubtful):,}:")
    print("\n".join(told(outcome, check) for outcome, check in doubtful))
    found: dict[tuple[str, str | None], list[tuple[Outcome, dict[str, Any]]]] = {}
    for outcome, check in entries(suite.outcomes):
        found.setdefault((check["verdict"], check["cause"]), []).append((outcome, check))
    for (verdict, cause), members in sorted(found.items(), key=lambda item: item[0][0]):
        names = len({outcome.name for outcome, _ in members})
        print(f"\n{verdict}{f' ({cause})' if cause else ''}, in {names:,} checks:")
        members.sort(key=lambda member: -(member[1]["error_ulps"] if isinstance(member[1]["error_ulps"], float) else -1.0))
        shown = {outcome.name: told(outcome, check) for outcome, check in reversed(members)}
        print("\n".join(list(shown.values())[: None if verdict in ("mismatch", "undecided") else -WORST - 1 : -1]))


if __name__ == "__main__":
    main()
