"""The matrices of Winograd's minimal filtering, exactly, from the points at which polynomials are multiplied.

F(m, r) computes m outputs of an r-tap filter from n = m + r - 1 inputs with n multiplications:  y = AT [(G g) * (BT d)].
In two dimensions a 4x4 block of a 3x3 convolution takes 36 multiplications where the direct way takes 144
[Winograd 1980; Lavin and Gray, arXiv:1509.09308].  The points decide the rounding errors: 0, 1, -1, 1/2, -2 make them two to
three times smaller than 0, 1, -1, 2, -2 at the same number of multiplications [after Barabasz, arXiv:1803.10986].  Eight inputs
take 2 and -1/2 besides: F(4, 5) in one dimension rounds as F(2x2, 5x5) with six points does.
"""

import functools
import math
from fractions import Fraction

__all__ = ["input_steps", "matrices", "output_steps"]

POINTS = (0, 1, -1, Fraction(1, 2), -2, 2, Fraction(-1, 2))  # n inputs take the first n - 1 and, last, infinity


def product(roots):
    """Coefficients of the product of (x - root), lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [*(-root * c for c in coefficients), Fraction(0)]
        coefficients = [a + b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


@functools.cache
def matrices(m, r=3, whole=None):
    """(AT m x n, G n x r, BT n x n) of F(m, r) as tuples of Fractions.

    `whole`: G is that of a tile of so many inputs, without the rows of points that this one lacks; BT makes up for it.
    """
    n = m + r - 1
    points, lacking = [Fraction(p) for p in POINTS[: n - 1]], POINTS[n - 1 : (whole or n) - 1]
    at = [[p**i for p in points] + [Fraction(int(i == m - 1))] for i in range(m)]
    g, bt = [], []
    for j, p in enumerate(points):
        others = points[:j] + points[j + 1 :]
        scale, more = math.prod(p - q for q in others), math.prod(p - q for q in lacking)
        g.append([p**k / (scale * more) for k in range(r)])
        bt.append([more * c for c in product(others)] + [Fraction(0)])
    g.append([Fraction(int(k == r - 1)) for k in range(r)])
    bt.append(product(points))
    return tuple(map(tuple, at)), tuple(map(tuple, g)), tuple(map(tuple, bt))


def input_steps(n, whole=None):
    """Matrices whose product is BT of a tile with n inputs, the first to be applied first: together they have fewer terms.

    With q = (x - 1/2)(x + 2) all rows but two are q times a polynomial with roots 0, 1 and -1, and the other two share
    x (x + 1)(x - 1), too.
    """
    if n == 8:
        return even_and_odd()
    if n != 6:
        return (matrices(n - 1, 2, whole)[2],)
    low, middle, high = product(POINTS[3:5])
    shared = [
        [low, middle, high, 0, 0, 0],
        [0, low, middle, high, 0, 0],
        [0, 0, low, middle, high, 0],
        [0, 0, 0, low, middle, high],
    ]
    shared += [[0, -1, 0, 1, 0, 0], [0, 0, -1, 0, 1, 0]]
    half, two = POINTS[3:5]
    rows = [[-1, 0, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, -1, 1, 0, 0, 0], [0, 0, 0, 0, -two, 1], [0, 0, 0, 0, -half, 1]]
    return shared, [*rows, [0, -1, 0, 1, 0, 0]]


def even_and_odd():
    """The same for n = 8, where all points but 0 come in pairs p and -p.

    The rows of a pair are (x + p) R and (x - p) R, with R = x times x^2 - q^2 of the other pairs: three inputs with even powers,
    and three with odd ones, serve both.
    """
    points, pairs = POINTS[:7], [p for p in POINTS[:7] if p > 0]
    shared, rows = [], [None] * 8
    for p in pairs:
        r = product([0, *(sign * q for q in pairs if q != p for sign in (1, -1))])
        for sign in (1, -1):
            rows[points.index(sign * p)] = [0] * len(shared) + [1, sign * p]
        shared += [[0, *r, 0], [*r, 0, 0]]
    for row, ends in ((0, [*product(points[1:]), 0]), (7, product(points))):
        rows[row] = [0] * len(shared) + [1]
        shared.append(ends)
    return shared, [row + [0] * (len(shared) - len(row)) for row in rows]


def output_steps(m, r):
    """Matrices whose product is AT of F(m, r), the first to be applied first: results at p and -p are added and subtracted once,
    since their powers differ in sign only."""
    at = matrices(m, r)[0]
    n = len(at[0])
    points, sums, columns = POINTS[: n - 1], [], []
    for j, p in enumerate(points):
        if p == 0 or -p not in points:
            sums.append([int(i == j) for i in range(n)])
            columns.append([row[j] for row in at])
        elif p > 0:
            other = points.index(-p)
            for sign in (1, -1):
                sums.append([1 if i == j else sign * (i == other) for i in range(n)])
                columns.append([row[j] if sign == (-1) ** k else 0 for k, row in enumerate(at)])
    sums.append([int(i == n - 1) for i in range(n)])
    columns.append([row[-1] for row in at])
    return sums, list(zip(*columns, strict=True))
