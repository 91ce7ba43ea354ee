"""Mutations of what judges: a line of the package and what it is changed into. See mutations.py.

Each weakens or breaks one thing: a bound is halved or widened, a comparison turned, a rule replaced, a limit dropped. None is
equal in effect: what is only faster, or only worded otherwise, is no mutation. `before` occurs once in its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Mutation(NamedTuple):
    """In `file`, below gradcheck_cli, `before` becomes `after`."""

    file: str
    before: str
    after: str


JUDGE = {
    # -- what is known of a run before
    "suite/findings.py": (
        ("EXACT = 1e-6\n", "EXACT = 1e-2\n"),
        ("EXACT = 1e-6\n", "EXACT = 1e-12\n"),
        ("min(2 * modelled, half)", "about"),
        ("half if modelled is None", "0.05 * about if modelled is None"),
        ("MORE = 1.1\n", "MORE = 11.0\n"),
        ("<= 2 * (slack or 0.0))", ">= 0.0)"),
        ("    if not common:\n", "    if False:\n"),
        ("max(now[2] or 0.0, then[2] or 0.0)", "0.0"),
    ),
    # -- every float32
    "formulas/stream.py": (
        ("asked == self.asked and number is not None", "number is not None"),
        ("signed(_text(kept), str(seal))", "bool(seal)"),
        ("Kind(Verdict.UNDECIDED, text=UNSEEN): count", "Kind(Verdict.UNDECIDED, text=UNSEEN): 2"),
        ("blank.mark([0, 1], Verdict.UNDECIDED, UNSEEN)", "blank.mark([0, 1], Verdict.MATCH)"),
    ),
    "verdict/summary.py": (
        ("tally.update(column.tally or {})", "tally = Counter(column.tally or {})"),
        ("for size in (errors, relative)", "for size in (errors,)"),
    ),
    # -- what many points are known to be without a ball
    "exact/domains.py": (
        ("chosen = (condition, _not(condition))", "chosen = (_not(condition), condition)"),
        ("condition = outside(self._tree, _not)", "condition = outside(self._tree, lambda condition: condition)"),
        ("found[places] = decided.at & decided.known", "found[places] = decided.beside & decided.known"),
        ("        return _both(*parts)\n", "        return _any(parts)\n"),
        ("syntax.GE: syntax.LT", "syntax.GE: syntax.GT"),
    ),
    "exact/sizes.py": (
        ("(form.maximum_exponent + 2)", "(form.maximum_exponent - 9)"),
        ("_call(syntax.NEG, below.rest)", "below.rest"),
        ("if a.large == b.large else (a.log, b.log)", "if True else (a.log, b.log)"),
    ),
    # -- what is judged with its neighbours
    "formulas/alike.py": (
        ("ends[0] if len(told) == 2 and told[0] == told[1] else None", "ends[0]"),
        ("np.flatnonzero(np.diff(courses) != 0) + 1", "np.zeros(0, dtype=np.int64)"),
        (
            "found.append(Gap(int(points[first]), int(points[until]), points[first + 1 : until]))",
            "found.append(Gap(int(points[first]), int(points[until]), points[first:until]))",
        ),
    ),
    "formulas/waiting.py": (
        ("if not told and self._doubts(", "if False and self._doubts("),
        ("whole.is_finite() and not any(e.meets(some - start, whole) for e, start, some in parts)", "whole.is_finite()"),
        ("sure = ~np.isin(here, list(doubted))", "sure = np.isin(here, here)"),
    ),
    "shadow/courses.py": (
        ("[2, 3 + negative, 5, 6 + negative], 1)", "[2, 3, 5, 6], 1)"),
        ("self.courses * _FACTOR + codes", "self.courses + 0 * codes"),
    ),
    "exact/stalls.py": (("(column.high != 0.0) | column.open", "column.high != 0.0"),),
    "verdict/truths.py": (
        ("words.high[place], words.low[place], words.radius[place] = words_of(ball)", "words.high[place] = words_of(ball)[0]"),
        ("if ball.is_finite():", "if True:"),
        ("found[found] = [ball is not None and not isinstance(ball, Truth) for ball in kept]", "pass"),
    ),
    "algebra/columns/column.py": (("float(abs(rest).abs_upper()) * UP + SMALLEST", "float(abs(rest).abs_upper()) * UP"),),
    "exact/steps.py": (
        (
            "along = np.sign(x.limit - y.limit), np.sign(x.slope - y.slope) * self.side",
            "along = np.sign(x.limit - y.limit), 0.0",
        ),
        ("x.known & ((beside != 0.0) | x.straight)", "x.known"),
        ("below = whole & (x.slope * self.side < 0.0)", "below = whole & (x.slope * self.side > 0.0)"),
        ("(side.limit != side.value) | (side.low != 0.0)", "side.limit != side.value"),
    ),
    # -- numbers against each other
    "verdict/judge.py": (
        ("> shades.rounded * (MARGIN * CERTAINLY)", "> shades.rounded * (MARGIN * CERTAINLY / 8.0)"),
        ("found: Mask = right & sharp & beyond & lost & normal &", "found: Mask = right & sharp & beyond & normal &"),
        ("found: Mask = right & sharp & beyond & lost & normal &", "found: Mask = right & sharp & beyond & lost &"),
        ("found: Mask = right & sharp & beyond & lost & normal &", "found: Mask = right & beyond & lost & normal &"),
        ("(truths.radius < digits) & ~small", "(truths.radius < digits)"),
        ("(off <= digits) | zero | tiny", "(off <= digits) | zero"),
        ("(off <= digits) | zero | tiny", "(off <= digits) | zero | below"),
        ("SHARE, SURE, NARROW = 0.125, 0.5, 2.0**-8", "SHARE, SURE, NARROW = 0.125, 2.0, 2.0**-8"),
        (
            "abs(ball).abs_upper() < form.smallest_normal and abs(autograd) <= form.smallest_normal",
            "abs(ball).abs_upper() < form.smallest_normal",
        ),
        ("(e.flushed or (e.explained", "(False or (e.explained"),
        ("not (e.ranged and (e.left or e.vanished))", "True"),
        ("return self.shade.pinned if self.truth.singular else None", "return None"),
        ("QUICK = 4.0", "QUICK = 400.0"),
        ("MARGIN = 4.0", "MARGIN = 400.0"),
        ("MARGIN = 4.0", "MARGIN = 0.25"),
        ("error <= math.sqrt(form.unit_roundoff) else", "error <= math.sqrt(form.unit_roundoff) * 1e4 else"),
        (
            "        if truth.ball.contains(0):\n            return Judgement(Verdict.MATCH)",
            "        if True:\n            return Judgement(Verdict.MATCH)",
        ),
        ("if low - slack <= autograd <= high + slack or", "if low - 1e3 * slack - 1 <= autograd <= high + slack + 1 or"),
        ("if low - slack <= autograd <= high + slack or", "if low + slack < autograd < high - slack or"),
        (" if math.isfinite(autograd) or not slopes else None\n", "\n"),
        ("or truth.free or truth.mixed or len(slopes) < 2", "or truth.free or len(slopes) < 2"),
        ('return near[0] if len(near) == 1 else "both" if near', "return near[0] if near"),
        ("admissible = hull.overlaps(shade.exact) and", "admissible = True and"),
        ("self.certified and bool(shade.exact.overlaps(truth.ball))", "self.certified"),
        ("self.wrong_formula = self.certified and not self.right_formula", "self.wrong_formula = False"),
        ("e.right_formula and (e.flushed or (e.explained and not (e.ranged and (e.left or e.vanished))))", "e.right_formula"),
        (
            "_Rule(lambda e: bool(e.shade.opaque) and e.near, Verdict.MATCH, text=_opaque),",
            "_Rule(lambda e: bool(e.shade.opaque), Verdict.MATCH, text=_opaque),",
        ),
        (
            "_Rule(lambda e: bool(e.shade.opaque), Verdict.UNDECIDED, text=_opaque),",
            "_Rule(lambda e: bool(e.shade.opaque), text=_opaque),",
        ),
        ("_Rule(lambda e: not e.bounded, None),", ""),
        ("_Rule(lambda e: e.left and e.trapped,", "_Rule(lambda e: e.left and not e.trapped,"),
        ("_Rule(lambda e: e.wrong_formula and e.truth.singular and not e.pinned, cause=Cause.KINK),", ""),
    ),
    "verdict/limits.py": (
        (
            "return difference <= (self.atol or 0.0) + (self.rtol or 0.0) * abs(exact)",
            "return difference <= (self.atol or 0.0) + (self.rtol or 0.0)",
        ),
        ("if self.ulps is not None and error_ulps <= self.ulps:", "if self.ulps is not None:"),
    ),
    "verdict/entries.py": (
        ("                radii[truths.others] = 0.0", "                pass"),
        ("known & (np.isnan(self.floats[waiting]) | self._apart[waiting])", "known"),
        ("return bool(whole.contains(0))", "return False"),
        (
            "        doubted = known.doubted(suspects, [self.truth(i).ball for i in suspects]) if suspects else {}",
            "        doubted = {}",
        ),
        (
            "        doubted = known.doubted(suspects, [self.truth(i).ball for i in suspects]) if suspects else {}",
            "        doubted = dict.fromkeys(suspects, True)",
        ),
        ("verdict, near = Verdict.MATCH, abs(number) <= roundoff * known.scale", "verdict, near = Verdict.MATCH, True"),
        ("off > own * abs(float(truth.ball)) and off > around * known.scale", "off > 0"),
        ("off > own * abs(float(truth.ball)) and off > around * known.scale", "False"),
        (
            "return judgement if beside is None else replace(",
            "return replace(judgement, verdict=Verdict.NONDIFFERENTIABLE, cause=None) if beside is None else replace(",
        ),
        ("few = max(few, RESIDUE * float(self.form.ulp(known.scale)))", "few = math.inf"),
        ("meant.rad() <= self._slack(meant, shade, known)", "True"),
    ),
    "floats.py": (
        ('Format("float32", 24, -126, 127)', 'Format("float32", 22, -126, 127)'),
        ("return 2.0**-self.bits\n", "return 2.0**-(self.bits - 2)\n"),
    ),
}
"""The judgement of three numbers."""

SHADOW = {
    # -- what rounding may do
    "algebra/layers.py": (
        ("self._least = form.smallest_subnormal if limited else 0.0", "self._least = form.smallest_subnormal"),
        ("lossy = self.limited and row.ulps != 1", "lossy = row.ulps != 1"),
        ("(1 if row.ulps == 1 else 2 * row.ulps)", "(100 if row.ulps == 1 else 200 * row.ulps)"),
        ("(1 if row.ulps == 1 else 2 * row.ulps)", "(0.01 if row.ulps == 1 else 0.02 * row.ulps)"),
        ("arb(0, form.gap(value) * CONSTANT_ULPS)", "arb(0, form.gap(value) * 2e9)"),
        ("arb(0, form.gap(value) * CONSTANT_ULPS)", "arb(0, 0.0)"),
        ("return cell * arb(1, form.unit_roundoff) + arb(0, form.smallest_subnormal if self.limited else 0.0)", "return cell"),
        ("self._summed(result, sizes, len(sizes) - 1, 0.0, False)", "result"),
        ("(operations * wide.unit_roundoff) + absolute)", "(1000 * operations * wide.unit_roundoff) + absolute)"),
        (
            "return x if condition else hull(x, y) if condition is None else y",
            "return x if condition or condition is None else y",
        ),
        ("        if top is None or balls[i] > top:", "        if True:"),
    ),
    "algebra/directions.py": (
        ("return list(cells) if self.tied(cells) else [NAN] * len(cells)", "return list(cells)"),
        ("return found[0] if type(found) is arb_series and found.prec >= LONG else found", "return found"),
        ("KEPT_ULPS = 4\n", "KEPT_ULPS = 4e12\n"),
        ("KEPT_ULPS = 4\n", "KEPT_ULPS = 4 / 8\n"),
        ("return coefficient(cell, 1) if cell[0].is_finite() else NAN", "return coefficient(cell, 1)"),
    ),
    "algebra/tensors.py": (("inputs, algebra, key, shared=False)", "inputs, algebra, key)"),),
    "shadow/trace.py": (
        ("vanished = finite and mark.tiny is None and", "vanished = False and mark.tiny is None and"),
        ("        if self is UNMARKED:\n            return other\n", "        if self is UNMARKED:\n            return self\n"),
        ("known.get((id(mark), case))", "next(iter(known.values()), None)"),
        ("        if not self._marks:\n            return\n", "        return\n"),
        ("ORDINARY = 1.0\n", "ORDINARY = 100.0\n"),
        ("return all(_untouched(", "return True or all(_untouched("),
    ),
    # -- iterations that ended early
    "shadow/reads.py": (
        ("TIMES = 2\n", "TIMES = 1\n"),
        ("ANEW = 4.0\n", "ANEW = 1e9\n"),
    ),
    "maps/settling.py": (("SHRINKS = 8.0\n", "SHRINKS = 0.9\n"),),
    # -- rules of operations
    "shadow/aten.py": (
        ('"grad_output*conj(1 - output)*conj(output)"', '"grad_output*conj(1 - output)"'),
        ('"grad_output*conj(1 - output**2)"', '"grad_output*(1 - output)"'),
        ('"where(self <= threshold, 0, grad_output)"', '"where(self < threshold, 0, grad_output)"'),
        ('_op("addcmul", "self + value*tensor1*tensor2"),', '_op("addcmul", "self - value*tensor1*tensor2"),'),
        ('_op("rsub", "other - alpha*self"),', '_op("rsub", "self - alpha*other"),'),
        (
            '"where(self <= min_val or self >= max_val, 0, grad_output)"',
            '"where(self < min_val or self > max_val, 0, grad_output)"',
        ),
        (
            '"grad_output*sigmoid(self)*(1 + self*(1 - sigmoid(self)))"',
            '"grad_output*sigmoid(self)*(1 - self*(1 - sigmoid(self)))"',
        ),
        ('_op("cumsum", fold="scan", step="x + y")', '_op("cumsum", fold="scan", step="x - y")'),
        ('_op("masked_fill", "where(mask, value, self)")', '_op("masked_fill", "where(mask, self, value)")'),
    ),
    "shadow/folds.py": (
        ("count = fold.layer.number(len(rows[0]) if rows else 1, DOUBLE)", "count = fold.layer.number(len(rows) or 1, DOUBLE)"),
        (
            "return [[reduce(plus, meeting[i], cell) if i in meeting else cell for i, cell in enumerate(own)]]",
            "return [[meeting[i][-1] if i in meeting else cell for i, cell in enumerate(own)]]",
        ),
        ('    if bound.get("alpha", 1) != 1:', "    if False:"),
    ),
    "shadow/convolutions.py": (
        ("o * stride - padding + k * dilation", "o * stride - padding + k"),
        ("group = co // (channels // groups)", "group = co * 0"),
    ),
    "shadow/order.py": (
        (
            '    return _ranked(fold, lambda row, seen: [fold.bound["k"] - 1])',
            '    return _ranked(fold, lambda row, seen: [fold.bound["k"] - 2])',
        ),
        ("if len(group) > 1 and self._layer.strict and not", "if False and not"),
    ),
    "shadow/rules/networks.py": (
        ("through = g - _across(x, total / count) - centred", "through = g - centred"),
        (
            "found[0] = rstd * (grad - grad.mean(axes, keepdim=True) - centred * inner)",
            "found[0] = rstd * (grad - centred * inner)",
        ),
        ("return torch.where(mask, input, 0.0) * (1 / (1 - p)) if p < 1", "return torch.where(mask, input, 0.0) if p < 1"),
    ),
    "shadow/rules/sequences.py": (
        ("    c = f * c + i * g\n", "    c = c + i * g\n"),
        ("    return n + z * (h - n), [r", "    return n - z * (h - n), [r"),
        ("state = [torch.cat([m, s[count:]]) if count < len(s) else m for", "state = [m for"),
    ),
    "shadow/rules/attention.py": (("weights = torch.where(self._kept(weights), weights, 0.0) * (", "weights = weights * ("),),
    "shadow/shortened.py": (
        ("        return Short(sums=True)\n", "        return Short()\n"),
        ('    kind = _within[-1] if _within and fold == "product" else fold\n', "    kind = fold\n"),
    ),
    "shadow/arguments.py": (("        excluded = excluded.remove(key)\n", "        pass\n"),),
    # -- what a function finds around itself
    "callables/enclosed.py": (
        ("return pulled is not None and not any(", "return True or not any("),
        ("if id(leaves[name]) in reached}", "}"),
        ("constant = getattr(", "constant = False and getattr("),
        ("tensor.layout is torch.strided and not hooks", "tensor.layout is torch.strided"),
        ("standing[key] = copy = before.clone()", "copy = before.clone()"),
    ),
    "shadow/stops.py": (("return bool(np.isin(_entries(one), _entries(other)).any())", "return True"),),
    "callables/own.py": (
        ("if g is not None and _like(reversed[name], g)]", "if g is not None]"),
        ("            if same:\n                yield few\n", "            if cut:\n                yield few\n"),
    ),
    "maps/check.py": (("not work.smooth() and (other := untied())", "work.smooth() and (other := untied())"),),
    "maps/seen.py": (
        ("DRAWS, TIMES = 3, 16\n", "DRAWS, TIMES = 3, 0\n"),
        ("DRAWS, TIMES = 3, 16\n", "DRAWS, TIMES = 3, 2\n"),
        ("DRAWS, TIMES = 3, 16\n", "DRAWS, TIMES = 0, 16\n"),
    ),
    "shadow/rules/spectra.py": (
        ("        y = y + y @ (eye - x @ y)\n        b =", "        b ="),
        ("SETTLED, MOST = 2.0**-150, 10\n", "SETTLED, MOST = 2.0**-10, 10\n"),
    ),
    "shadow/rules/gathers.py": (
        ("return torch.where(zero, 0.0, grad * difference / distance)", "return grad * difference / distance"),
        ("if scale_grad_by_freq else found)", "if not scale_grad_by_freq else found)"),
    ),
    # -- what operations don't show
    "shadow/memory.py": (
        ("if memory.floats[start:end] != bytes_of(storage, start, end):", "if False:"),
        ("filled = np.flatnonzero((bits != NOTHING).any(axis=1)).tolist()", "filled = []"),
        ("        return memory.dtype in FLOATS or tensor.dtype in FLOATS", "        return False"),
    ),
    "shadow/decisions.py": (
        (
            "            if known is None and (strict or cell is not None):\n                return None",
            "            if False:\n                return None",
        ),
        ("        if not (away > 0 or away < 0):\n            return value", "        return value"),
    ),
    "maps/outside.py": (
        ('return next((Doubt(word, ", ".join(sorted(within)) or OUTSIDE) for word, within in strange), None)', "return None"),
        ('        return Doubt("forward" if forward else "derivative", MOVED)', "        return None"),
        ('return Doubt("forward", WATCHED)', "return None"),
    ),
}
"""What follows the operations."""

PROVERS = {
    # -- formulas
    "exact/enclosure.py": (
        ("GUARD_BITS = 8\n", "GUARD_BITS = -30\n"),
        ("_HUGE = arb(2) ** 1025", "_HUGE = arb(2) ** 100"),
    ),
    "exact/accumulation.py": (
        ("            term = cotangent * slope\n", "            term = cotangent.mid() * slope.mid()\n"),
        ("totals[name] = totals[name] + term if name in totals else term", "totals[name] = term"),
    ),
    "exact/kinks.py": (
        ("SETTLED = 100\n", "SETTLED = 1\n"),
        ("GROWTH = 1.9\n", "GROWTH = 0.5\n"),
        ("        jump = here.is_finite() and bool(near.jumps)", "        jump = False"),
        ("if all(abs(s - third) <= before + noise for s in stretched):", "if True:"),
        ("EQUAL = 100\n", "EQUAL = 1\n"),
        ("self.found(wrt[:-1]).kind is Kind.REGULAR", "True"),
    ),
    "exact/witness.py": (
        (
            "            if not found.overlaps(ball):\n                return False",
            "            if not found.overlaps(ball):\n                return True",
        ),
        ("total += (-1) ** (order - size) * term", "total += term"),
        ("if not abs((far - near) / (sign * step) - ball) <= abs(ball) * arb(2) ** -GOAL:", "if False:"),
    ),
    # -- functions of tensors
    "maps/search.py": (
        ("self.clean = self._outside is None or moving(self.map, set() if", "self.clean = True or moving(self.map, set() if"),
        ("self._outside = moving(self.map, *taken, self._derived, cotangents) and UNSEEN", "self._outside = None"),
        ("            self._entries.clear()  # of a run", "            # of a run"),
        ("self.sensitivity = max(self.sensitivity, sensitivity)", "self.sensitivity = 0.0"),
        ("SENSITIVE = 1e-13\n", "SENSITIVE = 1e-3\n"),
        ("        if not difference.contains(0):\n            return False", "        if False:\n            return False"),
        (
            "if plain is not None and plain.cause is not Cause.NO_GRADIENT:\n            return False",
            "if plain is not None and plain.cause is not Cause.NO_GRADIENT:\n            return True",
        ),
        ("known.exclude(~right)", "known.accept(~right)"),
        (
            "        elif abs(meant - float(np.sum(products))) > COARSE * math.hypot(*products.tolist()):\n",
            "        elif True:\n",
        ),
        ("off = np.array(list(exact.values())) - found[some]", "off = abs(np.array(list(exact.values())) - found[some])"),
        ("        draw = draws(self.options.seed, secret=self._secret)", "        draw = draws(self.options.seed)"),
        ("        if self._lost.issuperset(rows):\n", "        if False:\n"),
    ),
    "maps/narrowing.py": (
        ("right = (step != 0.0) & ~wrong &", "right = (step != 0.0) &"),
        ("(reach <= group.least)", "(reach <= math.inf)"),
        ("(off * (1.0 - 2.0**-50) > radius)", "(off > 0.0)"),
    ),
    "algebra/columns/taped.py": (
        ("if not np.isfinite(value[counts]).all():", "if False:"),
        ("np.where(behind != 0.0, places, 0.0)", "places"),
        ("found[:, where] = self._together(before, terms) if before.any() else terms", "found[:, where] = terms"),
        ("    return slice(None) if some.all() else some", "    return slice(None)"),
    ),
    "algebra/products.py": (
        ("set(map(type, chain(xs, ys))) == {arb}", "True"),
        (
            "verticals = [ys[c::columns] for c in range(columns)]",
            "verticals = [ys[c * inner : (c + 1) * inner] for c in range(columns)]",
        ),
    ),
    "maps/reverse.py": (
        (
            "            if self._outside is not None:\n                self._look_outside()",
            "            if False:\n                pass",
        ),
        (
            "doubted=lambda some, balls: doubted(lambda s, b: truth._confirm(k, [span.start + i for i in s], b), some, balls),",
            "doubted=lambda some, balls: {},",
        ),
    ),
    "maps/poles.py": (("if exact[i].is_finite()]", "if True]"),),
    "maps/indices.py": (
        ("len({keys[t] for t in terms}) == 1", "True"),
        ("all(own[d] == place[d] for d in self.kept)", "True"),
        ("len(np.unique(exact[exact != 0])) >= DISTINCT and close(found, exact)", "True"),
    ),
    "maps/slips.py": (
        ("            return trial and (change(trial) or trial)\n", "            return trial\n"),
        ("return own is None or not _finite(own, name) or _fits", "return True or _fits"),
        ("            if not _fits(trial, name, search, text) or (calm and _exact(trial, name)):\n", "            if False:\n"),
        ("if here is not None and _pieces(trial) == here]", "if here is not None]"),
        (" or (calm and _exact(trial, name)):", ":"),
        ("place in here or search in candidates.ANYWHERE or self._mends(search) and right", "place in here"),
    ),
    "maps/map.py": (("    try:\n        return run()\n    except Exception:\n        return None\n", "    return run()\n"),),
    "maps/second.py": (
        ("AGREED = 48\n", "AGREED = -48\n"),
        (
            "weights = [math.prod(2 * n - 3 for n in node) for node in nodes]",
            "weights = [math.prod(3 - 2 * n for n in node) for node in nodes]",
        ),
    ),
    "maps/probe.py": (
        ("TIGHT = 70\n", "TIGHT = 10\n"),
        (", HeldTo(self.plain, self.whose, False)]", "]"),
        ("self.other = self._known = meant.prover", "pass"),
        ("None if meant.written is not None else other", "None"),
        ("jump = bool(abs(apart) > two_to(-QUOTIENT_STEP // 2))", "jump = True"),
        ("        if self.across:\n", "        if False:\n"),
        ("SIGNED = two_to(-2 * EXPONENTS[-1])", "SIGNED = -two_to(-2 * EXPONENTS[-1])"),
        ("        if not any(suspects.values()):\n            return {}", "        return {}"),
    ),
    # -- what is meant
    "maps/compiling.py": (
        ("donated_buffer=False", "donated_buffer=True"),
        ("            elif wrong:\n", "            elif False:\n"),
    ),
    "maps/meant.py": (
        ("ROOM = 4.0\n", "ROOM = 4e9\n"),
        ("known = not other.opaque and", "known = other.opaque and"),
    ),
    "maps/quotient.py": (
        ("MARGIN = 4.0\n", "MARGIN = 4e9\n"),
        ("CURVED = 2.0**-2\n", "CURVED = 2.0**2\n"),
        ("        self._draw = draws(seed, secret=known)\n", "        self._draw = draws(seed)\n"),
        ("MARGIN = 4.0\n", "MARGIN = 1e-6\n"),
        ("COARSE = 2.0**-16\n", "COARSE = 2.0**16\n"),
        (
            "return Slopes(value, error, noise, left[0]",
            "return Slopes(value, 0 * error, 0 * noise, left[0]",
        ),
        ("wrong &= ~(stairs & along(", "wrong &= ~(stairs & ~stairs & along("),
        ("found &= kink | jump", "found &= False"),
        ("WITHIN = 3 / 4\n", "WITHIN = -4\n"),
        ("RUNG, ROUNDED = 4, 12\n", "RUNG, ROUNDED = 4, 60\n"),
    ),
    "maps/guard.py": (
        ("            if doubts:\n                guard.take_back()\n", ""),
        ("                guard.refute()\n", "                pass\n"),
        ("        if not self.plain.repeatable:\n", "        if False:\n"),
        ("            if not again:\n                self.plain.heed_rounding()\n", ""),
        ("said(outcome, 0, self._scale)) if sides[0] else None", "said(outcome, 0, self._scale))"),
    ),
    "maps/orders.py": (
        ("    every = ahead | 1 << len(part.ahead)\n", "    every = ahead\n"),
        ("straight(value_of(above), a.union(b) if a.is_finite() and a.overlaps(b) else NAN)", "straight(value_of(above), a)"),
    ),
    "algebra/series.py": (("    if _never(f) and _known(g):\n", "    if _never(f):\n"),),
    "shadow/contents.py": (("return there.count(NOTHING) != len(there)", "return False"),),
    "algebra/tape.py": (
        ("return Taped(other - self.value, ((self, -ONE),))", "return Taped(other - self.value, ((self, ONE),))"),
        ("    if not all(c.value.is_finite() for c in cells if type(c) is Taped):\n        return Taped(NAN)\n", ""),
        ("made.append((y, left))", "made.append((y, right))"),
        ("            found[source] = term if before is None else before + term", "            found[source] = term"),
    ),
    "algebra/jets.py": (
        ("                if not a & b:\n", "                if True:\n"),
        ("/ 2 ** max(len(bits) - 1, 0)", ""),
    ),
    # -- conditions
    "callables/conditions.py": (
        ("        if torch.equal(got, right):\n            continue", "        continue"),
        ("_layout(_expanded)", "_layout(_apart)"),
        ("SIZE = 64\n", "SIZE = 1\n"),
    ),
}
"""What certifies, refutes and doubts."""


def _eighths(*constants: str) -> tuple[tuple[str, str], ...]:
    """Lines that define a constant of a bound, and the same with an eighth of it."""
    return tuple((f"\n{line}\n", f"\n{line.replace(' = ', ' = 0.125 * ')}\n") for line in constants)


COLUMNS = {
    "algebra/columns/words.py": (
        *_eighths("TINY = 2.0**-1071"),
        ("    for _ in range(6):\n", "    for _ in range(5):\n"),
    ),
    "algebra/columns/double.py": (
        *_eighths("SUM = 2.0 * UNIT", "PRODUCT = 10 * UNIT2", "QUOTIENT = 13 * UNIT2", "ROOT = 9 * UNIT2"),
        ("room = maximum(absolute(yh) * DOWN - yr, 0.0)", "room = absolute(yh)"),
        ("room = maximum(xh * DOWN - xr, 0.0)", "room = xh"),
        ("(absolute(yh) + yr) * xr", "absolute(yh) * xr"),
        ("return apart * DOWN > reach, -apart * DOWN > reach", "return apart > 0.0, apart < 0.0"),
        ("where(holds, xr, where(fails, yr, OPEN))", "where(holds, xr, yr)"),
        ("& (xr < 0.25) &", "&"),
    ),
    "algebra/columns/double_functions.py": (
        *_eighths(
            "REDUCED = 3 * UNIT2",
            "EXP_FOURTH = 1.5 * UNIT",
            "EXP_WORD = 8 * UNIT2",
            "LOG_CUBE = 7.0 * UNIT",
            "LOG_WORD = 2.0**-94",
            "SIN_CUBE = 4.0 * UNIT",
            "SIN_WORD = 4 * UNIT2",
            "ATAN_CUBE = 6.0 * UNIT",
            "ATAN_WORD = 4 * UNIT2",
        ),
        ("LEAST, NARROW = 2.0**-979, 2.0**-10", "LEAST, NARROW = 2.0**-982, 2.0**-10"),
        ("    r, rl = two_sum(r, rl + p * divide(xl, xh))", "    rl = rl + p * divide(xl, xh)"),
        ("    s, low = two_sum(s, xl)  # of -1 and something small xl is no longer what is small\n", "    low = xl\n"),
        ("where(absolute(xh - h) > 0.0, 0.0, xl)", "xl"),
    ),
    "algebra/columns/turns.py": (
        *_eighths("TURNED_ERROR = 2.0**-91"),
        ("large = absolute(xl) > LOW", "large = absolute(xl) > 2.0**40"),
        ("    n = k + n + m\n", "    n = k + n\n"),
        (
            "    a, b = two_sum(s - k, lower * c2)\n    a, g = two_sum(a, upper * c3)\n",
            "    a, g = two_sum(s - k, lower * c2 + upper * c3)\n    b = 0.0\n",
        ),
    ),
    "algebra/columns/stretches.py": (
        ("balls[0] += arb(0, 1) * rest", "balls[0] += arb(0, 1) * rest / 64"),
        ("(radius[0] + float(steeper) * UP) * UP", "radius[0] * UP"),
        ("+ t[-1] <= 1.0", "<= 1.0"),
        ("-self._sign, self._steepness", "self._sign, self._steepness"),
        ("abs(polygamma({n}, low)) + abs(polygamma({n}, high))", "abs(polygamma({n}, high))"),
        ("gamma(low) + gamma(high)", "gamma(low)"),
        ("besseli(0, high)", "besseli(0, low)"),
        ("if low > 0 or not self._known.right", "if True"),
    ),
    "algebra/columns/double_normal.py": _eighths("TAIL = 5.0 * UNIT", "WORD = 10 * UNIT2", "SLOPE = 1.1284"),
    "algebra/columns/single.py": (
        *_eighths("ROUNDED = 2.0 * UNIT"),
        ("room = maximum(absolute(yh) * DOWN - yr, 0.0)", "room = absolute(yh)"),
        ("where(holds, xr, where(fails, yr, OPEN))", "where(holds, xr, yr)"),
    ),
    "algebra/columns/single_functions.py": (
        *_eighths("EXP_ROUNDED = 4.5 * UNIT", "EXPM1_ROUNDED = 2.5 * UNIT"),
        ("LEAST, NARROW = 2.0**-979, 2.0**-10", "LEAST, NARROW = 2.0**-982, 2.0**-10"),
        ("LEAST, NARROW = 2.0**-979, 2.0**-10", "LEAST, NARROW = 2.0**-979, 1.0"),
        ("LOG_TABLE, LOG_REST = 5.0 * UNIT, 6.0 * UNIT", "LOG_TABLE, LOG_REST = 0.625 * UNIT, 6.0 * UNIT"),
        ("LOG_TABLE, LOG_REST = 5.0 * UNIT, 6.0 * UNIT", "LOG_TABLE, LOG_REST = 5.0 * UNIT, 0.75 * UNIT"),
        ("SIN_TABLE, SIN_REST = 4.0 * UNIT, 8.0 * UNIT", "SIN_TABLE, SIN_REST = 0.5 * UNIT, 8.0 * UNIT"),
        ("SIN_TABLE, SIN_REST = 4.0 * UNIT, 8.0 * UNIT", "SIN_TABLE, SIN_REST = 4.0 * UNIT, UNIT"),
        ("ATAN_TABLE, ATAN_REST = 4.0 * UNIT, 6.0 * UNIT", "ATAN_TABLE, ATAN_REST = 0.5 * UNIT, 6.0 * UNIT"),
        ("ATAN_TABLE, ATAN_REST = 4.0 * UNIT, 6.0 * UNIT", "ATAN_TABLE, ATAN_REST = 4.0 * UNIT, 0.75 * UNIT"),
        (" + (d - d)  # nan where c*h overflows", ""),
    ),
    "algebra/columns/single_normal.py": _eighths("SCALED_ROUNDED = 5.0 * UNIT", "PLAIN_ROUNDED = 6.0 * UNIT", "SLOPE = 1.1284"),
    "algebra/columns/sums.py": (
        *_eighths("LOWER = 2.0 * UNIT", "PLAIN = 1.0 * UNIT", "LAST = 2.0 * UNIT"),
        ("return (53 - math.ceil(", "return (55 - math.ceil("),
        ("        found += count * 2.0**-1074\n", "        pass\n"),
        ("finite & np.isfinite(found), found, OPEN", "np.isfinite(found), found, 0.0"),
        ("fit = np.isfinite(largest) & (np.abs(power) <= ROOM)", "fit = np.isfinite(largest)"),
    ),
    "algebra/columns/multiple.py": (
        *_eighths("PLAIN = 1.0 * UNIT", "LOST = 2.0**-1072"),
        ("        radius = radius + absolute(word)\n", "        radius = radius + 0.5 * absolute(word)\n"),
        ("radius, found[place] = radius + absolute(found[place]), 0.0", "found[place] = 0.0"),
        (
            "                dropped = dropped + absolute(product)\n",
            "                dropped = dropped + 0.0 * absolute(product)\n",
        ),
        ("(size(y) + y[-1]) * x[-1] + dropped", "size(y) * x[-1] + dropped"),
        ("left = size(rest) + rest[-1]", "left = size(rest)"),
        ("where(left > 0.0, SMALLEST, 0.0)", "0.0"),
        ("    room = maximum(_least(y) - y[-1], 0.0)\n", "    room = _least(y)\n"),
        ("where(room > 0.0, divide((size(rest) + rest[-1]) * UP, both) + SMALLEST, OPEN)", "divide(size(rest) * UP, both)"),
        ("reach = ((size(apart) - absolute(apart[0])) + apart[-1]) * UP", "reach = 0.0 * apart[-1]"),
    ),
    "algebra/columns/multiple_functions.py": (("width = radius_around(middle, ball)", "width = 0.0"),),
    "algebra/columns/long_sums.py": (
        ("EXACT = 2.0**53\n", "EXACT = 2.0**57\n"),
        *_eighths("VANISHED = 2.0**-1068"),
        ("off[:half] + off[half : 2 * half])", "0.0 * off[:half])"),
        ("for q, y in enumerate(b.largest) if p + q >= most)", "for q, y in enumerate(b.largest) if p + q > most + 1)"),
        ("small += a.left * (sum(b.largest) + b.left) + sum(a.largest) * b.left", "small += 0.0"),
        ("sum(map(np.abs, terms), np.zeros(found[0].shape)) * UP", "np.zeros(found[0].shape)"),
    ),
    "algebra/columns/long.py": (
        ('return self._chosen(self._kernel("order")(x, y), x, y)', "return super()._larger(x, y)"),
        ("radii + np.array([[self.form.gap(float(size)) * KEPT_ULPS], [0.0]])", "radii"),
    ),
    "maps/columns.py": (
        ("known[some] = sure & ~np.isnan(part.rounded)", "known[some] = sure"),
        (" or (any(self._short) and self._short >= self._before)", ""),
        ("return np.where(np.isfinite(found.rounded), found.rounded, 0.0)", "return found.rounded"),
    ),
    "algebra/columns/meeting.py": (
        ("np.maximum(terms - 1, 0) * unit", "np.maximum(terms - 1, 0) * 0.5 * unit"),
        ("else y.most * units", "else y.most * (0.5 * units)"),
        ("sums.upper(x.most, y.most) * (terms * unit)", "sums.upper(x.most, y.most) * (0.5 * terms * unit)"),
        ("wide = _sum(grown, y.far)", "wide = grown"),
        ("_beside([(x.size, wide), *far_terms])", "_beside([(x.size, wide)])"),
        ("near, far = both[:, :, :columns], both[:, :, columns:]", "near, far = both[:, :, columns:], both[:, :, :columns]"),
        ("far = far + sums.upper(radius, most)", "far = far"),
        ("inner - right.sum(1, keepdims=True)", "inner"),
    ),
    "algebra/columns/enclosing.py": (
        ("np.maximum(radii, (apart + other) * UP)", "radii"),
        ("own, np.maximum(x[-1], y[-1])", "own, own"),
        ("zero & np.isfinite(radii), 0.0, radii", "zero, 0.0, radii"),
        ("where(there, np.where(known, 0.0, OPEN), radii)", "where(there, 0.0, radii)"),
    ),
    "algebra/columns/rewriting.py": (
        ("if found.counts[item] * count < 0 and not _positive(item):", "if False:"),
        (
            "(syntax.ERF, 1, 1, 1, lambda u: (syntax.ERFC, 1, _negated(u)))",
            "(syntax.ERF, 1, 1, 1, lambda u: (syntax.ERFC, 1, u))",
        ),
        (
            "(syntax.TANH, 1, 1, 1, lambda u: (syntax.SIGMOID, 2, _twice(u)))",
            "(syntax.TANH, 1, 1, 1, lambda u: (syntax.SIGMOID, 2, u))",
        ),
    ),
    "algebra/columns/evaluation.py": (("if not self.backend.trustworthy():", "if False:"),),
    "algebra/columns/backends.py": (("where(finite & isfinite(into[0]) &", "where(isfinite(into[0]) &"),),
    "algebra/columns/on_llvm.py": (
        ("finite: Any = True\n", "finite: Any = True\n        values = values[:0]\n"),
        ("    return where(rare, OPEN, radius)", "    return radius"),
    ),
    "algebra/columns/fused.py": (
        ("library.where(finite, 0.0, OPEN)", "0.0"),
        ("(far + apart) * (1.0 + 2.0**-44)", "far"),
        ("return lambda *cells: self._widened(both(*cells), relative, absolute, bool(row.absolute))", "return both"),
    ),
    "shadow/traced.py": (
        ("self.lost = row is None or row.whole", "self.lost = row is None"),
        ("(_whole(tensor) and math.prod(shape) == tensor.numel())", "_whole(tensor)"),
        ("(_whole(tensor) and math.prod(shape)", "(math.prod(shape)"),
    ),
    "shadow/column_folds.py": (
        ("return () if np.all(_everywhere(holds) | itself) else None", "return ()"),
        ("np.where(np.tile(sure, many), radii, OPEN)", "radii"),
        ("np.where(inside < 0, batch * channels * space, group + inside)", "group + inside"),
        ("known & yes, known & ~yes", "yes, ~yes"),
    ),
    "shadow/columns.py": (
        ("return bool(np.all(holds | fails)) and", "return"),
        ("return self._key(tensor) not in self._unsure", "return True"),
    ),
}
"""Bounds of the kernels of columns, and what keeps open what isn't certain."""


def mutations() -> Iterator[Mutation]:
    """All of them."""
    for table in (JUDGE, SHADOW, PROVERS, COLUMNS):
        for file, changes in table.items():
            for before, after in changes:
                yield Mutation(file, before, after)
