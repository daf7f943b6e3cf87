"""A network without its numbers, as JSON; and back, believing nothing.

{"format": 1, "input_shape": [28, 28, 1], "dtype": "float32", "seed": "0", "name": null, "output": "softmax",
 "layers": [{"type": "Conv2D", "trainable": true, "config": {"filters": 6, "size": 5, …, "name": "conv2d_1"}}, …]}

The layers of a block stand in its config, described alike: {"type": "Residual", …, "config": {"body": [{"type": …}, …]}}.  A
network whose classes have names has one more member, "classes": ["cat", "dog"].
"""

import json
from math import prod

from fastconv.errors import FastconvError, ModelFileError, OptionError
from fastconv.layers import LAYERS, Layer
from fastconv.layers.block import flags_of, set_flags
from fastconv.models.arguments import SEED_DIGITS
from fastconv.models.ledger import rows

__all__ = ["from_json", "members", "to_json"]

FORMAT = 1
MOST_TEXT = 4 << 20  # characters of JSON
MOST_LAYERS = 1000
MOST_NUMBER = 1 << 17  # any size in a setting: filters, units, strides, sides of an image
MOST_FEATURES = 1 << 26  # inputs of a network that takes flat rows
MOST_VALUES = 1 << 32  # of the output of one layer for one image
MOST_DEPTH = 24  # lists within lists; a block within a block takes 3 or 4
MEMBERS = {
    "format": int,
    "input_shape": list,
    "dtype": str,
    "seed": str,
    "name": str | None,
    "output": str,
    "layers": list,
}
OPTIONAL = {"classes": list}


def to_json(net):
    """The architecture of `net`; OptionError if JSON cannot hold it, or if `from_json` would not take it back."""
    found = {
        "format": FORMAT,
        "input_shape": list(net.input_shape),
        "dtype": net.dtype.name,
        "seed": str(net.seed),
        "name": net.name,
        "output": net.output,
        "layers": [describe(layer) for layer in net.layers],
    }
    if net.classes is not None:
        found["classes"] = list(net.classes)
    try:
        check(found)
        text = json.dumps(found, ensure_ascii=False, allow_nan=False)
        text.encode()  # refuses halves of characters, which a file cannot hold
        return text
    except (ModelFileError, TypeError, ValueError) as error:
        raise OptionError(f"this network cannot be saved: {error}") from None


def describe(layer):
    """Type, settings with the name that the network gave, and whether it is trained."""
    known = LAYERS.get(type(layer).__name__)
    if known not in (None, type(layer)):
        raise OptionError(f"{layer.label}: a class of your own called {known.__name__} would be taken for fastconv's; rename it")
    config = dict(layer.config())
    if "name" in config:
        config["name"] = layer.name
    config |= {key: each(Layer, describe, config[key]) for key in layer.nested}
    return {"type": type(layer).__name__, "trainable": flags_of(layer), "config": config}


def each(kind, function, value):
    """`value` with `function` of everything of this kind in it, however deep in lists."""
    if isinstance(value, (list, tuple)):
        return [each(kind, function, item) for item in value]
    return function(value) if isinstance(value, kind) else value


def from_json(text, network, layers, limit):
    """The `network` (the class) of `text`, unallocated.  `layers`: further classes by name; `limit`: bytes arrays may need."""
    found = parse(text)
    check(found)
    classes = {**LAYERS, **layers}
    made = [make_layer(f"layers[{i}]", described, classes) for i, described in enumerate(found["layers"])]
    settings = {key: found.get(key) for key in ("input_shape", "dtype", "name", "output", "classes")}
    try:
        net = network(made, **settings, seed=int(found["seed"]))
    except FastconvError as error:
        raise ModelFileError(f"describes a network that cannot be: {str(error).splitlines()[0]}") from None
    check_size(net, limit)
    return net


def parse(text):
    """JSON as plain values; neither NaN nor a member twice nor numbers of thousands of digits."""
    if len(text) > MOST_TEXT:
        raise ModelFileError(f"its architecture takes {len(text):,} characters; at most {MOST_TEXT:,} are read")
    try:
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=members)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"its architecture is not readable JSON: {error}") from None


def refuse_constant(name):
    raise ValueError(f"{name} is not a number")


def members(pairs):
    """An object's members, each once."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same member twice")
    return found


def check(found):
    """The frame of the description: members, their types, and sizes that a computer can have."""
    if not isinstance(found, dict) or found.get("format") != FORMAT or isinstance(found["format"], bool):
        got = found.get("format") if isinstance(found, dict) else None
        raise ModelFileError(f"has format {got!r}; this version of fastconv reads format {FORMAT}")
    check_members(found, MEMBERS | {key: kind for key, kind in OPTIONAL.items() if key in found}, "the architecture")
    if not (found["seed"].isascii() and found["seed"].isdigit() and len(found["seed"]) <= SEED_DIGITS):
        raise ModelFileError(f"seed: got {found['seed'][:50]!r}; needed up to {SEED_DIGITS} digits")
    if (count := layers_in(found["layers"])) > MOST_LAYERS:
        raise ModelFileError(f"describes {count:,} layers; at most {MOST_LAYERS:,} are read")
    check_numbers(found["input_shape"], "input_shape", MOST_FEATURES if len(found["input_shape"]) == 1 else MOST_NUMBER)
    for i, described in enumerate(found["layers"]):
        check_described(described, f"layers[{i}]")
        check_numbers(list(described["config"].values()), f"layers[{i}]", MOST_NUMBER)


def layers_in(value):
    """How many objects with a type are in there, those inside blocks too; depth is bounded by the reader of the JSON."""
    if isinstance(value, dict):
        return ("type" in value) + sum(map(layers_in, value.values()))
    return sum(map(layers_in, value)) if isinstance(value, list) else 0


def check_described(described, where):
    """An object with the three members of a layer."""
    if not isinstance(described, dict):
        raise ModelFileError(f"{where}: got {described!r:.80}; needed an object")
    check_members(described, {"type": str, "trainable": bool | list, "config": dict}, where)


def check_members(found, types, where):
    """Exactly the members of `types`, each of its type."""
    if found.keys() != types.keys():
        raise ModelFileError(f"{where} has the members {sorted(found)}; needed {sorted(types)}")
    for key, kind in types.items():
        if not isinstance(found[key], kind):
            raise ModelFileError(f"{where}: {key} is {found[key]!r:.80}, not of the right type")


def check_numbers(value, where, most, depth=0):
    """No size beyond `most`, no list too deep."""
    if isinstance(value, (list, dict)):
        if depth > MOST_DEPTH:
            raise ModelFileError(f"{where}: lists within lists within lists; at most {MOST_DEPTH} deep")
        for item in value if isinstance(value, list) else value.values():
            check_numbers(item, where, most, depth + 1)
    elif isinstance(value, int) and abs(value) > most:
        raise ModelFileError(f"{where}: the size {str(value)[:20]} is beyond anything sensible; at most {most:,}")


def make_layer(where, described, classes):
    """One layer from its type and settings, those inside a block first."""
    check_described(described, where)
    kind, config = described["type"], dict(described["config"])
    if kind not in classes:
        raise ModelFileError(f"{where} is of the unknown type {kind!r:.80}; pass load(path, layers={{…}}) if it is yours")
    for key in getattr(classes[kind], "nested", ()):
        if key in config:
            config[key] = each(dict, lambda inner, key=key: make_layer(f"{where}.{key}", inner, classes), config[key])
    try:
        layer = classes[kind](**config)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise ModelFileError(f"{where}: {kind} refuses its settings: {error}") from None
    if not isinstance(layer, Layer):
        raise ModelFileError(f"{where}: {kind} makes {type(layer).__name__}, no layer; pass a class derived from fc.Layer")
    try:
        set_flags(layer, described["trainable"])
    except (OptionError, AttributeError, ValueError) as error:
        raise ModelFileError(f"{where}: {kind} does not have the layers that are said to be trained or not: {error}") from None
    return layer


def check_size(net, limit):
    """All arrays together must fit into the file that claims to hold them, and every output into a large computer."""
    needed = net.dtype.itemsize * sum(prod(shape) for layer in net.layers for shape in layer.array_shapes().values())
    if needed > limit:
        raise ModelFileError(f"describes a network of {needed:,} bytes, the file itself has {limit:,}")
    for row in rows(net, expand_nested=True):
        if row.activations > MOST_VALUES:
            raise ModelFileError(f"{row.name}: its output of {row.activations:.3g} values is beyond anything sensible")
