"""What an explanation consists of, as a value; `page` makes text and HTML of it."""

import json
from dataclasses import dataclass
from math import isfinite

import numpy as np

from fastconv.geometry import ConvGeometry
from fastconv.teaching import page
from fastconv.teaching.formula import SIDES

__all__ = ["Explanation", "Line", "Part"]

SCHEMA = 1  # of the JSON form; grows when a member changes its meaning


@dataclass(frozen=True, eq=False)
class Line:
    """Along one axis: place left[k] of the left array meets place right[k] of the right one.

    `left` is -1 where padding shows zero; `padding` says which places lie in the padding, whatever it shows.
    """

    left: np.ndarray
    right: np.ndarray
    padding: np.ndarray


@dataclass(frozen=True, eq=False)
class Part:
    """The products of one channel, image or filter (its number is `index`): left · right, place by place; all float64."""

    index: int
    left: np.ndarray
    right: np.ndarray
    padding: np.ndarray

    @property
    def products(self):
        return self.left * self.right

    @property
    def sum(self):
        return float(self.products.sum())


@dataclass(frozen=True, eq=False)
class Explanation:
    """One element of y, dw or dx, and all that it is made of.  Print it, or read its fields.

    Attributes
    ----------
    of : "y", "dw" or "dx"
    axes : a letter for each axis of the caller's array, such as "npqo"
    at : index of the element in it; `place`: the same by letter, {"n": 0, "p": 1, …}
    value : float, the element
    before : float, the sum with its bias, before the activation
    parts : tuple of Part: one for each channel (of y), image (of dw) or filter (of dx); their sums and the bias make `before`
    rows, columns : Line, which rows and columns of the two sides meet
    bias : float, or None without one
    activation : name, or None
    geometry : ConvGeometry, all sizes
    """

    of: str
    axes: str
    at: tuple
    place: dict
    value: float
    before: float
    parts: tuple
    rows: Line
    columns: Line
    bias: float | None
    activation: str | None
    geometry: ConvGeometry

    @property
    def element(self):
        """Its name: "y[1, 2, 0]"."""
        return f"{self.of}[{', '.join(map(str, self.at))}]"

    @property
    def terms(self):
        """Number of products."""
        return sum(part.left.size for part in self.parts)

    def to_json(self):
        """JSON text with every number; null for a pixel row that padding shows as zero, text for what is not finite."""
        geo, (left, right, what) = self.geometry, SIDES[self.of]
        found = {
            "schema": SCHEMA,
            "element": self.element,
            "of": self.of,
            "at": self.at,
            "value": self.value,
            "before_activation": self.before,
            "activation": self.activation,
            "bias": self.bias,
            "terms": self.terms,
            "shapes": {"x": geo.x_shape, "w": geo.w_shape, "y": geo.y_shape},
            "options": {name: getattr(geo, name) for name in ("groups", "pad_mode", "flip")}
            | {"stride": (geo.sh, geo.sw), "dilation": (geo.dh, geo.dw), "padding": geo.pads},
            "rows": meeting(self.rows, left, right),
            "columns": meeting(self.columns, left, right),
            "parts": [part_members(part, left, right, what) for part in self.parts],
        }
        return json.dumps(plain(found), ensure_ascii=False)

    def text(self, width=None, plain=None):
        """A page to read, `width` characters wide (the terminal's by default); `plain`: ASCII only."""
        return page.text(self, width, plain)

    def __str__(self):
        return self.text()

    __repr__ = __str__

    def _repr_html_(self):
        return page.html(self)


def meeting(line, left, right):
    """One `Line` under the names of its two sides."""
    return {left: [None if place < 0 else place for place in line.left.tolist()], right: line.right.tolist()}


def part_members(part, left, right, what):
    """One `Part` under the names of its two sides."""
    return {
        what: part.index,
        left: part.left,
        right: part.right,
        "padding": part.padding,
        "products": part.products,
        "sum": part.sum,
    }


def plain(value):
    """`value` in what JSON has: lists, and NaN and infinities as text."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value
