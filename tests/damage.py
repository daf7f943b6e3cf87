"""Damaged files, and what must come of them: one clear DataError."""

import pytest

from fastconv.errors import DataError


def refuses(call, *words):
    """The call raises DataError, in one line that has all these words."""
    with pytest.raises(DataError) as caught:
        call()
    assert "\n" not in str(caught.value) and all(str(word) in str(caught.value) for word in words), str(caught.value)


def damaged(content, chance):
    """`content` with a few bytes lost, changed or added; `chance` is a random.Random."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        at, how = chance.randrange(len(content)), chance.randrange(3)
        content[at : at + (how < 2)] = b"" if how == 0 else bytes([chance.randrange(256)])
    return bytes(content)
