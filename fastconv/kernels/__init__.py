"""The compiled loops.  Arrays of one dtype in, arrays out: no checks, no policy; geometry has checked and plans has chosen.

Index alphabet: sizes N H W C, KH KW, P Q (output rows and columns), O; indices n h w c, i j, p q, o; groups G, index g.
Each file is one algorithm: its loops as `@kernel`, and functions that pad, allocate and launch them.  Most import Numba.
"""
