"""One slip planted before or behind softmax, layer norm and attention, at every size: whether it is refuted, and the seconds.

python benchmarks/planted.py [--most 100000]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.soundness.test_planted import BETWEEN, SLIPS, found, planted, refuted

SIZES = (64, 1_000, 5_000, 20_000, 100_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="entries of the largest input")
    most = parser.parse_args().most
    square = planted(next(iter(SLIPS.values())))
    for between, mix in BETWEEN.items():
        for size in (n for n in SIZES if n <= most):
            start = time.process_time()
            said = "refuted" if refuted(found(lambda x, mix=mix: mix(square(x)), size)) else "NOT refuted"
            print(f"{between:12} {size:8,} entries: {said}, {time.process_time() - start:5.1f} s of CPU time", flush=True)


if __name__ == "__main__":
    main()
