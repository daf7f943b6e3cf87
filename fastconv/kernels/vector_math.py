"""exp and its relatives on whole vectors, to the last digits: the C library would be called number by number.

exp(x) = 2^k exp(r),   k = x / ln 2 rounded,   r = x - k ln 2,   |r| <= 0.35,   exp(r) by its Taylor series
"""

from math import factorial, log, sqrt
from typing import NamedTuple

__all__ = ["exp", "expm1", "if_negative", "minus", "normal_distribution", "sigmoid", "tanh"]


class Format(NamedTuple):
    """Of a floating-point number."""

    mantissa: int  # bits
    bias: int  # of the exponent
    ln2: tuple  # ln 2 in two parts; the first has so few digits that its product with k is exact  [Cody and Waite 1980]
    terms: int  # of the Taylor series, until the next one is below half a unit in the last place
    limits: tuple  # between which exp(x) is neither 0 nor infinite


FORMATS = {
    4: Format(23, 127, (0.693359375, -2.12194440054690583e-4), 7, (-104.0, 89.0)),
    8: Format(52, 1023, (0.693145751953125, 1.42860682030941723e-6), 13, (-746.0, 710.0)),
}
MOST = 80.0  # exp(-80) is nothing beside 1, and 2^k a usual number in both formats
# Rational approximations of erf and erfc, highest power first, by W. J. Cody 1969 as in the Cephes library (S. Moshier, ndtr.c):
# erf(a) = a T(a²) / U(a²) for a <= 1, erfc(a) = exp(-a²) P(a) / Q(a) above
T = (9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3, 7.00332514112805075473e3)
T += (5.55923013010394962768e4,)
U = (1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3, 2.26290000613890934246e4)
U += (4.92673942608635921086e4,)
P = (2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0, 4.86371970985681366614e1)
P += (1.96520832956077098242e2, 5.26445194995477358631e2, 9.34528527171957607540e2, 1.02755188689515710272e3)
P += (5.57535335369399327526e2,)
Q = (1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2, 9.75708501743205489753e2)
Q += (1.82390916687909736289e3, 2.24633760818710981792e3, 1.65666309194161350182e3, 5.57535340817727675546e2)
FAR = 26.0  # erfc(a) is 0 from there on


def polynomial(v, coefficients, x):
    """Horner's rule."""
    value = v.constant(coefficients[0])
    for coefficient in coefficients[1:]:
        value = v.multiply_add(value, x, v.constant(coefficient))
    return value


def bounded(v, x, low, high):
    """x where it is between the limits, else the one that it is beyond; NaN stays NaN."""
    for limit, beyond in ((low, "<"), (high, ">")):
        x = v.builder.select(v.builder.fcmp_ordered(beyond, x, v.constant(limit)), v.constant(limit), x)
    return x


def power_and_rest(v, x):
    """(k as whole numbers, exp(r) - 1)"""
    known = FORMATS[v.itemsize]
    magic = v.constant(1.5 * 2.0**known.mantissa)  # a number so large that what is added to it is rounded to a whole one
    shifted = v.multiply_add(x, v.constant(1 / log(2)), magic)
    k = v.builder.fsub(shifted, magic)
    rest = x
    for part in known.ln2:
        rest = v.multiply_add(k, v.constant(-part), rest)
    series = polynomial(v, [1 / factorial(n) for n in range(known.terms, 0, -1)], rest)
    number = v.builder.sub(*(v.builder.bitcast(value, v.whole_number(0).type) for value in (shifted, magic)))
    return number, v.builder.fmul(series, rest)


def power_of_two(v, k):
    """2^k of whole numbers, k as the exponent of a usual number."""
    known = FORMATS[v.itemsize]
    return v.builder.bitcast(v.builder.shl(v.builder.add(k, v.whole_number(known.bias)), v.whole_number(known.mantissa)), v.type)


def exp(v, x):
    """e^x; the power of two in two steps, since 2^k may be too small for a usual number where e^x is not 0."""
    k, rest = power_and_rest(v, bounded(v, x, *FORMATS[v.itemsize].limits))
    half = v.builder.ashr(k, v.whole_number(1))
    one, other = power_of_two(v, half), power_of_two(v, v.builder.sub(k, half))
    return v.builder.fmul(v.multiply_add(rest, one, one), other)


def expm1(v, x):
    """e^x - 1 for x up to 80, with all digits where x is small."""
    k, rest = power_and_rest(v, bounded(v, x, -MOST, MOST))
    power = power_of_two(v, k)
    return v.multiply_add(rest, power, v.builder.fsub(power, v.constant(1.0)))


def if_negative(v, x, one, other):
    """`one` where x < 0, `other` where it is not or is NaN."""
    return v.builder.select(v.builder.fcmp_ordered("<", x, v.constant(0.0)), one, other)


def minus(v, x):
    return v.builder.fsub(v.constant(-0.0), x)


def absolute(v, x):
    return v.where_negative(x, minus(v, x))


def sigmoid(v, x):
    """1 / (1 + e^-x); a small result keeps its digits."""
    power, one = exp(v, minus(v, absolute(v, x))), v.constant(1.0)
    return v.builder.fdiv(if_negative(v, x, power, one), v.builder.fadd(power, one))


def tanh(v, x):
    """(e^2a - 1) / (e^2a + 1), a = |x|, with the sign of x."""
    size = absolute(v, x)
    power = expm1(v, v.builder.fadd(size, size))
    found = v.builder.fdiv(power, v.builder.fadd(power, v.constant(2.0)))
    return if_negative(v, x, minus(v, found), found)


def normal_distribution(v, x):
    """Φ(x) = erfc(-x / √2) / 2, with small relative error on both sides (1e-10 where it is below 1e-28)."""
    one, half = v.constant(1.0), v.constant(0.5)
    a = v.builder.fmul(absolute(v, x), v.constant(1 / sqrt(2)))
    squares = v.builder.fmul(a, a)
    quotient = v.builder.fdiv(polynomial(v, T, squares), polynomial(v, U, squares))
    near = v.builder.fsub(one, v.builder.fmul(a, quotient))
    far = v.builder.fdiv(v.builder.fmul(exp(v, minus(v, squares)), polynomial(v, P, a)), polynomial(v, Q, a))
    far = v.builder.select(v.builder.fcmp_ordered(">=", a, v.constant(FAR)), v.constant(0.0), far)
    tail = v.builder.fmul(v.builder.select(v.builder.fcmp_ordered("<", a, one), near, far), half)
    return if_negative(v, x, tail, v.builder.fsub(one, tail))
