"""Convolution taken apart, to be read: every product behind one number."""

from fastconv.teaching.explain import explain
from fastconv.teaching.explanation import Explanation, Part

__all__ = ["Explanation", "Part", "explain"]
