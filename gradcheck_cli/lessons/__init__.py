"""A derivation for a reader, as data that `output` writes."""
