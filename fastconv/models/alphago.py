"""AlphaGo's policy network: from a position on the board to the probability of each move."""

from fastconv.layers import Conv2D, Flatten
from fastconv.models.zoo import network, scaled

__all__ = ["alphago_policy"]


def alphago_policy(input_shape=(19, 19, 48), *, filters=192, width=1.0, normalize=None, dtype="float32", seed=0):
    """Conv 5×5, eleven times conv 3×3, one 1×1 filter: a logit for each of the 19×19 points.  Silver et al. 2016, Nature 529.

    The 48 planes of the input are the paper's (stones, liberties, ladders, …); `filters` were 192 in the match version.  The
    paper gives each point of the last layer a bias of its own; here, as in the lectures' count, they share one.

    >>> net = alphago_policy()
    >>> net.n_parameters, net.summary().totals.macs
    (3882433, 1400726208)
    """
    count = scaled(filters, width)
    layers = [Conv2D(count, 5, padding=2, activation="relu")]
    layers += [Conv2D(count, 3, padding=1, activation="relu") for _ in range(11)]
    layers += [Conv2D(1, 1), Flatten()]
    return network(layers, "AlphaGo policy", normalize, input_shape=input_shape, dtype=dtype, seed=seed)
