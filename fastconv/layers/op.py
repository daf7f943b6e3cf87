"""One step of a network as a value: what `models.program` lowers a network to and `plans.plan_chain` reads."""

from dataclasses import dataclass, replace

from fastconv.geometry import ConvGeometry, PoolGeometry

__all__ = ["Op"]


@dataclass(frozen=True)
class Op:
    """What a layer does to a batch, without its numbers; frozen and hashable, so that plans can be remembered by it.

    Attributes
    ----------
    kind : str, such as "conv2d", "max_pool2d", "dense"; "custom" for a layer that fastconv does not know
    layer : str, the name of the layer in its network
    in_shape, out_shape : tuples with the batch in front
    geometry : ConvGeometry, PoolGeometry or None
    slots : names of the arrays it reads, such as ("conv2d_1.w", "conv2d_1.b")
    activation : applied to the result before it is stored, or None
    settings : ((name, value), …), everything else that decides the result, such as (("slope", 0.01),)
    learns : whether it has parameters that are trained, in a program for training
    """

    kind: str
    layer: str
    in_shape: tuple
    out_shape: tuple
    geometry: ConvGeometry | PoolGeometry | None = None
    slots: tuple = ()
    activation: str | None = None
    settings: tuple = ()
    learns: bool = False

    def merged(self, activation, slots=()):
        """The same with an activation computed by it, and further arrays read."""
        return replace(self, activation=activation, slots=(*self.slots, *slots))

    def __str__(self):
        sizes = "×".join(map(str, self.in_shape)) + " -> " + "×".join(map(str, self.out_shape))
        return f"{self.layer}: {self.kind} {sizes}" + (f", {self.activation}" if self.activation else "")
