"""A derivative worked out by hand, rule by rule, and the slips that are made with each rule."""
