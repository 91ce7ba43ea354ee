#!/usr/bin/env bash
# Gradient checks in continuous integration: every command runs, and the script fails if one of them does.
#
# Source: https://github.com/pytorch/pytorch/issues/68425 for the where() at the end.
# Verdict: match, match, mismatch
# Exit code: 1
set -uo pipefail

failed=0
check() {
    gradcheck "$@" --quiet || failed=1
}

# The loss in both precisions, at 200 seeded points.
check chain "logsigmoid(x)" --sample 200 --domain x=-30:30 --dtype float64,float32
# The Hessian of a two-variable function.
check grad "exp(-(x**2 + y**2)/2)" --order 2 --domain x=-3:3 --domain y=-3:3
# The bug that this job is there to find: exp(a) overflows where 1 + a is selected, and autograd returns nan.
check chain "where(a <= 0, exp(a), 1 + a)" --at a=1000

exit "$failed"
