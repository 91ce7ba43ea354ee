"""Any torch function of named tensors: run, differentiated in power series, and judged entry by entry."""
