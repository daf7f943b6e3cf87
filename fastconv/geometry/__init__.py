"""Every formula about shapes: sizes, counts, receptive fields, and settings for what is wanted.  Integers in, integers out."""

from fastconv.geometry.connection import connection_matrix
from fastconv.geometry.conv import ConvGeometry
from fastconv.geometry.counts import conv_formula, conv_parameters, dense_formula, dense_parameters
from fastconv.geometry.design import Design, design
from fastconv.geometry.pool import PoolGeometry
from fastconv.geometry.receptive import ReceptiveField, receptive_field
from fastconv.geometry.windows import (
    adaptive_windows,
    check_flag,
    image_sizes,
    kernel_span,
    output_size,
    padding_for,
    pair,
    resolve_padding,
    source_index,
    unread_pixels,
    whole,
)

__all__ = [
    "ConvGeometry",
    "Design",
    "PoolGeometry",
    "ReceptiveField",
    "adaptive_windows",
    "check_flag",
    "connection_matrix",
    "conv_formula",
    "conv_parameters",
    "dense_formula",
    "dense_parameters",
    "design",
    "image_sizes",
    "kernel_span",
    "output_size",
    "padding_for",
    "pair",
    "receptive_field",
    "resolve_padding",
    "source_index",
    "unread_pixels",
    "whole",
]
