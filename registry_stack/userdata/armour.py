"""Bytes as text in 16/13 of their size, where base64 takes 4/3: 13 bits in two of 91 characters.

`unpack-files` decodes it with awk: see build.py.
"""

# The printable ones but $, ' and @, which mean something to a loader, to the shell and to Heat's placeholders.
_ALPHABET = "".join(chr(code) for code in range(33, 127) if chr(code) not in "$'@")


def is_clear(data: bytes) -> bool:
    """Whether a decoder finds no byte more: only then may the data be encoded."""
    return -8 * len(data) % 13 < 8


def encode(data: bytes) -> str:
    """The data as text."""
    bits = int.from_bytes(data, "little")
    pairs = (bits >> shift & 0x1FFF for shift in range(0, 8 * len(data), 13))
    return "".join(_ALPHABET[pair // 91] + _ALPHABET[pair % 91] for pair in pairs)


def decode(text: str) -> bytes:
    """The data again; raises ValueError for a text that `encode` does not make."""
    values = [_ALPHABET.index(character) for character in text]
    pairs = [high * 91 + low for high, low in zip(values[::2], values[1::2], strict=True)]
    bits = sum(pair << 13 * number for number, pair in enumerate(pairs))
    return bits.to_bytes(13 * len(pairs) // 8, "little")
