"""Ways to spoil a file, each a function of its bytes and a source of chance."""

import random
import struct
from collections.abc import Callable, Sequence

Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], bytearray]
"""Takes a file, chance and other files to splice with; gives the spoilt one."""

NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
HEAD = 4096
"""Bytes at either end of a file where its headers and indices are."""


def mutate(data: bytes, chance: random.Random, others: Sequence[bytes]) -> tuple[str, bytes]:
    """A spoilt copy and the names of the one to three mutations that made it."""
    names = chance.choices(list(MUTATIONS), k=chance.choice((1, 1, 1, 2, 3)))
    spoilt = bytearray(data)
    for name in names:
        if spoilt:
            spoilt = MUTATIONS[name](spoilt, chance, others)
    return " + ".join(names), bytes(spoilt)


def _place(data: bytearray, chance: random.Random) -> int:
    """Half of the time where headers are."""
    if chance.random() < 0.5:
        return chance.randrange(len(data))
    near = chance.randrange(min(HEAD, len(data)))
    return near if chance.random() < 0.7 else len(data) - 1 - near


def _flip_bits(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    for _ in range(chance.choice((1, 1, 8, 64, 512))):
        data[_place(data, chance)] ^= 1 << chance.randrange(8)
    return data


def _set_bytes(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    for _ in range(chance.choice((1, 4, 32))):
        data[_place(data, chance)] = chance.choice((0, 255, chance.randrange(256)))
    return data


def _truncate(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    return data[: chance.choice((chance.randrange(len(data)), _place(data, chance)))]


def _behead(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    return data[min(_place(data, chance), len(data) - 1) :]


def _splice(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    """The beginning of one file and the end of another."""
    other = chance.choice(others)
    return data[: _place(data, chance)] + other[chance.randrange(len(other)) :]


def _insert(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    place, other = _place(data, chance), chance.choice(others)
    begin = chance.randrange(len(other))
    data[place:place] = other[begin : begin + chance.choice((1, 7, 100, 5000))]
    return data


def _cut_out(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    place = _place(data, chance)
    del data[place : place + chance.choice((1, 4, 100, 3000))]
    return data


def _repeat(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    """A piece many times over, which makes some files endless to a careless reader."""
    place = _place(data, chance)
    piece = bytes(data[place : place + chance.choice((4, 64, 1000))])
    data[place:place] = piece * chance.choice((2, 50, 500))
    return data


def _blank(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    place = _place(data, chance)
    count = len(data[place : place + chance.choice((4, 100, 2000))])
    data[place : place + count] = bytes([chance.choice((0, 255))]) * count
    return data


def _edit_number(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    """A length, count or size that lies: 16, 32 or 64 bits, either way round."""
    for _ in range(chance.choice((1, 2, 6))):
        place, number = _place(data, chance), chance.choice(NUMBERS)
        kind = chance.choice((">H", "<H", ">I", "<I", ">I", "<I", ">Q", "<Q"))
        size = struct.calcsize(kind)
        data[place : place + size] = struct.pack(kind, number & ((1 << 8 * size) - 1))
    return data


def _edit_box(data: bytearray, chance: random.Random, others: Sequence[bytes]) -> bytearray:
    """A field behind one of the names that containers mark their parts with."""
    name = chance.choice(BOXES)
    place = data.find(name)
    if place < 0:
        return _edit_number(data, chance, others)
    place += len(name) + 4 * chance.randrange(8) - 4 * chance.randrange(3)
    if place >= 0:
        data[place : place + 4] = struct.pack(chance.choice((">I", "<I")), chance.choice(NUMBERS))
    return data


BOXES = tuple(
    b"ftyp moov mvhd trak tkhd mdia mdhd hdlr minf stbl stsd stts ctts stsc stsz stco co64 stss elst moof trun tfhd sidx mdat "
    b"avcC hvcC esds colr pasp RIFF avih strh strf movi idx1 JUNK FLV onMetaData OggS "
    b"\x1a\x45\xdf\xa3 \x15\x49\xa9\x66 \x16\x54\xae\x6b \x1f\x43\xb6\x75 \x44\x89 \xb0 \xba \x2a\xd7\xb1".split(b" ")
)

MUTATIONS: dict[str, Mutation] = {
    "bits": _flip_bits,
    "bytes": _set_bytes,
    "truncate": _truncate,
    "behead": _behead,
    "splice": _splice,
    "insert": _insert,
    "cut": _cut_out,
    "repeat": _repeat,
    "blank": _blank,
    "number": _edit_number,
    "box": _edit_box,
}
