"""A constant matrix times vectors, written out as additions and multiply-adds: the transforms of Winograd's algorithm."""

__all__ = ["apply", "both_ways", "combine", "floats"]


def floats(matrix):
    """A matrix of Fractions as `combine` and `both_ways` take it."""
    return [[float(x) for x in row] for row in matrix]


def combine(v, row, values):
    """The sum of row[i] * values[i], without the zeros and without multiplying by 1 and -1."""
    total = None
    for factor, value in sorted(zip(row, values, strict=True), key=lambda pair: abs(pair[0]) != 1):
        if factor == 0:
            continue
        if total is None:
            total = value if factor == 1 else v.builder.fmul(v.constant(factor), value)
        elif abs(factor) == 1:
            total = v.builder.fadd(total, value) if factor == 1 else v.builder.fsub(total, value)
        else:
            total = v.multiply_add(v.constant(factor), value, total)
    return total


def apply(v, matrices, values):
    """The matrices times a vector of vectors, the first one first."""
    for matrix in matrices:
        values = [combine(v, row, values) for row in matrix]
    return values


def both_ways(v, down, along, columns):
    """M X LT for X given as columns of vectors, M and L being the products of `down` and `along` (the first matrix is applied
    first): {(row, column): vector}."""
    first = [apply(v, down, column) for column in columns]
    rows = [apply(v, along, [column[i] for column in first]) for i in range(len(down[-1]))]
    return {(i, j): value for i, row in enumerate(rows) for j, value in enumerate(row)}
