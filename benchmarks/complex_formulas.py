"""Claim: of random formulas of a complex number nothing that is certified is another than mpmath's quotients, and no right
gradient is refuted.

    python benchmarks/complex_formulas.py [--count 500] [--seed 0]

Formulas of up to four levels, of 25 functions, with complex constants. Printed is what differs, or was refuted (torch has real
defects: infinities of both signs meet, a product of 0 and an infinity), and how many there are of each verdict.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.complex_formulas import case, compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, counts, agreeing = random.Random(asked.seed), Counter[str](), 0
    for _ in range(asked.count):
        found = compared(case(rng))
        agreeing += found.agreeing
        counts.update(verdict.value for verdict in found.verdicts)
        for line in found.off + found.lost:
            print(line, flush=True)
    print(f"{asked.count:,} formulas, {agreeing:,} derivatives as mpmath has them:", dict(counts.most_common()))


if __name__ == "__main__":
    main()
