"""A constant matrix times vectors, written out as additions and multiply-adds: the transforms of Winograd's algorithm.

A transformed tile has 36 vectors, more than the 16 that many CPUs have registers for.  There a few rows of the result are made at
a time, from vectors that are read again for each few: a core reads two or three vectors while it adds two, but what does not fit
into its registers goes to the stack and back.
"""

from fastconv.machine import cpu

__all__ = ["both_ways", "combine", "floats", "one_way", "some_rows", "store_both_ways"]

ROWS = {16: 4, 32: 6}  # of a result that are made at a time, with so many vector registers


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


def terms_of(row):
    """The columns in which a row of a matrix is not zero."""
    return [i for i, factor in enumerate(row) if factor]


def some_rows(v, matrices, rows, value):
    """These rows of the product of the matrices and the vectors value(0), value(1) ...; the first matrix is applied first."""
    if not matrices:
        return [value(i) for i in rows]
    *first, last = matrices
    needed = sorted({i for row in rows for i in terms_of(last[row])})
    found = dict(zip(needed, some_rows(v, first, needed, value), strict=True))
    values = [found.get(i) for i in range(len(last[0]))]
    return [combine(v, last[row], values) for row in rows]


def rows_at_once(matrix, most):
    """Its rows, not more than `most` at a time; those with the same terms stay together."""
    sets, alike = [], {}
    for i, row in enumerate(matrix):
        alike.setdefault(tuple(terms_of(row)), []).append(i)
    for numbers in alike.values():
        for few in (numbers[i : i + most] for i in range(0, len(numbers), most)):
            if sets and len(sets[-1]) + len(few) <= most:
                sets[-1] += few
            else:
                sets.append(few)
    return sets


def one_way(v, matrices, x, place):
    """(number of the row, its vector) of the product of the matrices, the first to be applied first, and the vectors at
    place(x, 0), place(x, 1) ..."""
    for rows in rows_at_once(matrices[-1], ROWS[cpu().registers]):
        x = v.read_anew(x)
        yield from zip(rows, some_rows(v, matrices, rows, lambda i, x=x: v.load(place(x, i))), strict=True)


def both_ways(v, down, along, x, place, lanes=None):
    """M X LT, M and L being the products of `down` and `along`: (number of the row, its vectors) one after another.

    place(x, i, j) points to row i and column j of X, of which only `lanes` exist.
    """
    for rows in rows_at_once(down[-1], ROWS[cpu().registers]):
        x = v.read_anew(x)
        columns = [some_rows(v, down, rows, lambda i, j=j, x=x: v.load(place(x, i, j), lanes)) for j in range(len(along[0][0]))]
        for i, vectors in zip(rows, zip(*columns, strict=True), strict=True):
            yield i, some_rows(v, along, range(len(along[-1])), vectors.__getitem__)


def store_both_ways(v, down, along, x, place, out, target, lanes=None):
    """The same into the places target(out, i, j)."""
    for i, values in both_ways(v, down, along, x, place, lanes):
        for j, value in enumerate(values):
            v.store(value, target(out, i, j))
