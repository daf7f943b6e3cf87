"""How work is cut into blocks: by the shape alone, so that neither threads nor luck change a bit of a sum."""

__all__ = ["BLOCK_BYTES", "CHUNK_BYTES", "FEW_TILES", "SUM_ROWS", "WHOLE_FILTERS", "block_count", "window_rows"]

MOST_BLOCKS = 16
LEAST_PIXELS = 512  # of a block
SUM_ROWS = 2048  # of a sum over rows
MOST_BYTES = 2 << 20  # of all partial sums together: adding them up takes time, too
WHOLE_FILTERS = 4 << 20  # bytes of Winograd's filters up to which they are made once for all blocks of an image
BLOCK_BYTES = 500_000  # of Winograd's V and M of the tiles of one block: what L2 holds beside the weights that stream through
CHUNK_BYTES = 500_000  # of its transformed weights made and used at once by `by_panels`
FEW_TILES = 1_000_000  # bytes of its V that need not be cut into blocks
WINDOW_BYTES = 4 << 20  # of one block of im2col windows, at least one output row


def block_count(geo, itemsize):
    """Partial sums of a weight gradient: up to 16, fewer for few pixels or large filters."""
    size = geo.kh * geo.kw * (geo.c // geo.groups) * geo.o * itemsize
    return max(1, min(MOST_BLOCKS, geo.n * geo.p, geo.n * geo.p * geo.q // LEAST_PIXELS, MOST_BYTES // size))


def window_rows(geo, itemsize):
    """Output rows whose im2col windows fit WINDOW_BYTES; at least one."""
    return max(1, min(geo.n * geo.p, WINDOW_BYTES // (geo.q * geo.terms * geo.groups * itemsize)))
