"""Arrays of trees: an expression on arrays becomes one scalar tree for each entry of its value.

cells.py     arrays, their bounds, what doesn't fit      products.py   products of arrays
sums.py      what folds entries                          matrices.py   linear algebra
moves.py     what moves, chooses or makes entries        ranks.py      the order of entries
                                                         losses.py     losses by classes
                                                         windows.py    layers of networks
evaluation.py   one walk over a user's tree, in which rows are broadcast, run (the `array` column of the table of
                functions names a method in one of these modules), or taken by their definition
"""
