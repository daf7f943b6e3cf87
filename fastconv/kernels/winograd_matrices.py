"""The matrices of Winograd's minimal filtering, exactly, from the points at which polynomials are multiplied.

F(m, r) computes m outputs of an r-tap filter from n = m + r - 1 inputs with n multiplications:  y = AT [(G g) * (BT d)].
In two dimensions a 4x4 block of a 3x3 convolution takes 36 multiplications where the direct way takes 144
[Winograd 1980; Lavin and Gray, arXiv:1509.09308].  The points decide the rounding errors: 0, 1, -1, 1/2, -2 make them two to
three times smaller than 0, 1, -1, 2, -2 at the same number of multiplications [after Barabasz, arXiv:1803.10986].
"""

import functools
import math
from fractions import Fraction

__all__ = ["input_steps", "matrices"]

POINTS = (0, 1, -1, Fraction(1, 2), -2)  # n inputs take the first n - 1 and, last, infinity


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
    if n != 6:
        return (matrices(n - 1, 2, whole)[2],)
    low, middle, high = product(POINTS[3:])
    shared = [
        [low, middle, high, 0, 0, 0],
        [0, low, middle, high, 0, 0],
        [0, 0, low, middle, high, 0],
        [0, 0, 0, low, middle, high],
    ]
    shared += [[0, -1, 0, 1, 0, 0], [0, 0, -1, 0, 1, 0]]
    half, two = POINTS[3:]
    rows = [[-1, 0, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, -1, 1, 0, 0, 0], [0, 0, 0, 0, -two, 1], [0, 0, 0, 0, -half, 1]]
    return shared, [*rows, [0, -1, 0, 1, 0, 0]]
