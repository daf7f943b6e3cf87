"""From a list of layers to a chain of places: names, shapes and a random stream for each; in a network, and inside a block."""

from collections import Counter

import numpy as np

from fastconv.errors import OptionError, ShapeError
from fastconv.layers.arrays import stream_of
from fastconv.layers.base import Layer

__all__ = ["check_kinds", "connect", "given_names", "listed", "places", "shapes_through", "way_out"]


def connect(layers, input_shape, dtype, seed, classes=None):
    """The layers as a tuple, each with a name, its input shape and its own random stream; ShapeError where one does not fit,
    OptionError where the last one has not as many outputs as there are names of classes."""
    layers = listed(layers, "layers", "layers, such as [fc.Flatten(), fc.Dense(10)] or net.layers")
    check_kinds(layers)
    names = given_names(layers)
    *inputs, output = shapes_through(layers, names, input_shape)
    if classes is not None and len(classes) != max(output[-1], 2):
        raise OptionError(f"layers: give {output[-1]} outputs for {len(classes)} names of classes; set classes = None first")
    streams = unused_streams(layers, seed)
    for layer, name, shape, stream in zip(layers, names, inputs, streams, strict=True):
        layer.name, layer.scope = name, ""
        layer.connect(shape, dtype, stream)
    return layers


def unused_streams(layers, seed):
    """A random stream for each of the layers: that of its place, or a spare one where a layer has come with that."""
    taken = {layer.stream for layer in layers if layer.input_shape is not None}
    places = np.random.SeedSequence(seed).spawn(2 * len(layers))
    spare = (place for place in places[len(layers) :] if stream_of(place) not in taken)
    own = zip(layers, places, strict=False)
    return [next(spare) if layer.input_shape is None and stream_of(place) in taken else place for layer, place in own]


def listed(values, name, what):
    """`values` as a tuple, or OptionError for what is no list; `what` should be in it."""
    try:
        return tuple(values)
    except TypeError:
        raise OptionError(f"{name}: got {values!r:.80}; needed a list of {what}") from None


def way_out(value):
    """What to write for something that is no layer, in words; "" where nothing comes to mind."""
    if isinstance(value, type):
        return "; write its brackets too"
    return "; a network is no layer, take those in it: *net.layers" if hasattr(value, "layers") else ""


def check_kinds(layers):
    """Only layers, and each object once, blocks opened: a layer remembers one batch and one place."""
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise OptionError(f"layers[{i}]: got {layer!r:.80}; needed a layer, such as fc.Conv2D(10, 3){way_out(layer)}")
    for layer, times in Counter(inner for outer in layers for inner in outer.walk()).items():
        if times > 1:
            raise OptionError(f"layers: {layer!r} is there {times} times; make a new layer for each place")


def given_names(layers):
    """The layers' own names, and "conv2d_1", "conv2d_2", … for those without, in order."""
    taken = Counter(layer.name for layer in layers if layer.name is not None)
    twice = [name for name, times in taken.items() if times > 1]
    if twice:
        raise OptionError(f"layers: the name {twice[0]!r} is there twice; names must differ")
    numbers, names = Counter(), []
    for layer in layers:
        name = layer.name
        while name is None or (layer.name is None and name in taken):
            numbers[layer.stem()] += 1
            name = f"{layer.stem()}_{numbers[layer.stem()]}"
        names.append(name)
    return names


def shapes_through(layers, names, input_shape):
    """[input shape of the first layer, of the second, …, output shape of the last]; an error shows how far it went."""
    shapes = [tuple(input_shape)]
    for layer, name in zip(layers, names, strict=True):
        try:
            shapes.append(tuple(layer.output_shape_for(shapes[-1])))
        except ShapeError as error:
            where = f"{name} (layer {len(shapes)} of {len(layers)})"
            raise ShapeError(f"{where}: {error}\n{so_far(layers, names, shapes)}") from None
    return shapes


def so_far(layers, names, inputs):
    """The layers up to the one that failed, a line each."""
    shown = ["input", *names[: len(inputs) - 1]]
    width = max(map(len, [*shown, names[len(inputs) - 1]]))
    lines = [f"  {name:{width}}  {'×'.join(map(str, shape))}" for name, shape in zip(shown, inputs, strict=True)]
    last = layers[len(inputs) - 1]
    return "\n".join([*lines, f"  {names[len(inputs) - 1]:{width}}  does not fit: {last.settings()}"])


def places(layers, input_shape):
    """((layer, its input shape), …) of named layers, one after the other."""
    return tuple(zip(layers, shapes_through(layers, [layer.name for layer in layers], input_shape), strict=False))
