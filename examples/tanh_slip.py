# A derivative derived by hand that disagrees with autograd: who is right?
#
# Source: https://discuss.pytorch.org/t/pytorch-autograd-not-matching-with-computed-derivatives/187917
#     Two stages of tanh with a shared weight, 40*tanh(w*tanh(w/2)) at w = 2. Autograd says 8.1888, the author's formula
#     -40.2153: the slip is 1 - pre**2 where the derivative of tanh(pre) is 1 - tanh(pre)**2, at both stages.
# Verdict: mismatch, match
# Exit code: 0

from gradcheck_cli import check_chain

CHAIN = ["h1_raw = w/2", "h1 = tanh(h1_raw)", "h2_raw = w*h1", "h2 = tanh(h2_raw)", "y = 40*h2"]

# A claim is written in inputs and stages, as one derives it. It is refuted, and autograd is not.
slip = check_chain(CHAIN, at={"w": 2}, claim="w = 40*(1 - h2_raw**2)*(h1 + w*(1 - h1_raw**2)/2)")
print(slip)
claimed = next(check for check in slip.checks if check.claim)
assert (claimed.verdict, claimed.cause) == ("mismatch", "claim")
assert round(claimed.autograd, 4) == -40.2153
assert claimed.exact.startswith("8.18880816832867")
assert all(check.verdict == "match" for check in slip.checks if not check.claim)

# Without the slip.
right = check_chain(CHAIN, at={"w": 2}, claim="w = 40*(1 - tanh(h2_raw)**2)*(h1 + w*(1 - tanh(h1_raw)**2)/2)")
print(right)
assert right.ok
