"""Omron: which of its devices keeps what where in its memory.

Source: field notes on Omron's EEPROM protocol (docs/reference/sources.md).

A model is known by its number without "HEM-". A wrong one would make readings
of other bytes, so a name is taken only if it stands here whole: HEM-7155T and
HEM-7155T-MW3 share no address.

The settings are read at one address and written at another. The index and the
window of the clock stand at the same offsets behind both.
"""

from dataclasses import dataclass
from enum import StrEnum


class Stack(StrEnum):
    """Which characteristics a device has."""

    CLASSIC = "classic"  # four channels, 16 bytes each
    MODERN = "modern"  # one channel, a whole frame


class Unlock(StrEnum):
    """What a device wants to see before it lets its memory be read."""

    KEY = "key"  # 16 bytes, programmed into it in pairing mode
    TOKEN = "token"  # noqa: S105 - 4 bytes, any, which it sends back
    NONE = "none"  # nothing but the bond


class Format(StrEnum):
    """How a record is laid out; see `omron_memory`."""

    LITTLE = "L"
    BIT_STREAM = "B"
    BYTES = "S"
    HEARTGUIDE = "H"


class ClockLayout(StrEnum):
    """How the window of the clock is laid out; see `omron_memory`."""

    LINEAR = "lin"
    MIXED = "mix"
    LINEAR_8 = "lin8"
    MIXED_8 = "mix8"
    PREFIX = "pre"


@dataclass(frozen=True, slots=True)
class Memory:
    """Where one user's records stand.

    Attributes:
        address: Of slot 0.
        slots: How many records there is room for.
    """

    address: int
    slots: int


@dataclass(frozen=True, slots=True)
class Index:
    """Where the index says which slot was written last.

    Attributes:
        size: Of the whole index, in bytes.
        is_big_endian: Whether its words have their high byte first.
        cursor: Offset of the first user's write cursor.
        unread: Offset of the first user's counter of unread records.
        step: From one user's word to the next's.
        mask: The bits of a cursor that number a slot.
        bias: What to add to a cursor to get the newest slot.
    """

    size: int
    is_big_endian: bool
    cursor: int = 0
    unread: int = 4
    step: int = 2
    mask: int = 0xFF
    bias: int = -1


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a device keeps its index and its clock.

    Attributes:
        read: The address at which the settings are read.
        write: The address at which they are written.
        index: The index, at offset 0.
        clock: Offset of the clock's window.
        layout: What that window looks like.
    """

    read: int
    write: int
    index: Index
    clock: int
    layout: ClockLayout


@dataclass(frozen=True, slots=True)
class Model:
    """One layout of memory, and the devices that have it.

    Attributes:
        name: The model's number without "HEM-".
        stack: Which characteristics it has.
        unlock: What opens its memory.
        users: Each user's memory.
        format: The layout of a record.
        size: Of a record, in bytes.
        block: The most bytes to read at once.
        settings: Where index and clock stand.
        variants: Other devices with the very same memory.
        year_bits: How many bits of a bit stream's year count, 6 or 8.
        is_bond_lost: It refuses a bond that was kept: pair anew for every visit.
    """

    name: str
    stack: Stack
    unlock: Unlock
    users: tuple[Memory, ...]
    format: Format
    size: int
    block: int
    settings: Settings
    variants: tuple[str, ...] = ()
    year_bits: int = 8
    is_bond_lost: bool = False


_KEY = Stack.CLASSIC, Unlock.KEY
_BOND = Stack.MODERN, Unlock.NONE
_TOKEN = Stack.MODERN, Unlock.TOKEN

_L14, _L16 = (Format.LITTLE, 14), (Format.LITTLE, 16)
_B14 = Format.BIT_STREAM, 14
_S16, _S32 = (Format.BYTES, 16), (Format.BYTES, 32)
_H24 = Format.HEARTGUIDE, 24

_BIG_8 = Index(8, is_big_endian=True)
_BIG_16 = Index(16, is_big_endian=True)
_BIG_20 = Index(20, is_big_endian=True, mask=0x3FFF)
_BIG_64 = Index(16, is_big_endian=True, cursor=6, unread=14, mask=0x3FFF, bias=0)
_LITTLE_16 = Index(16, is_big_endian=False)
_LITTLE_24 = Index(24, is_big_endian=False)
_LITTLE_28 = Index(28, is_big_endian=False)
_LITTLE_WIDE = Index(16, is_big_endian=False, step=8)

_LIN, _MIX = ClockLayout.LINEAR, ClockLayout.MIXED
_LIN8, _MIX8 = ClockLayout.LINEAR_8, ClockLayout.MIXED_8
_PRE = ClockLayout.PREFIX

_AT_0010 = Settings(0x0010, 0x0054, _LITTLE_16, 0x2C, _LIN8)
_AT_0010_24 = Settings(0x0010, 0x0054, _LITTLE_24, 0x2C, _LIN8)
_AT_0010_28 = Settings(0x0010, 0x0058, _LITTLE_28, 0x30, _LIN8)
_AT_0100 = Settings(0x0100, 0x0160, _BIG_64, 0x10, _PRE)
_AT_0100_70 = Settings(0x0100, 0x0170, _BIG_64, 0x10, _PRE)
_AT_0260_LIN = Settings(0x0260, 0x0286, _BIG_8, 0x14, _LIN)
_AT_0260_MIX = Settings(0x0260, 0x0286, _BIG_8, 0x14, _MIX)
_AT_0260_MIX8 = Settings(0x0260, 0x02A4, _BIG_16, 0x2C, _MIX8)
_AT_0260_16 = Settings(0x0260, 0x02A4, _LITTLE_16, 0x2C, _LIN8)
_AT_0260_24 = Settings(0x0260, 0x02A4, _LITTLE_24, 0x2C, _LIN8)
_AT_0260_WIDE = Settings(0x0260, 0x02A4, _LITTLE_WIDE, 0x2C, _LIN8)
_AT_0356 = Settings(0x0356, 0x03B8, _BIG_20, 0x50, _LIN)
_AT_0F74 = Settings(0x0F74, 0x0F9A, _BIG_8, 0x14, _LIN)


def _model(  # noqa: PLR0917 - a row of the table, in the order of its columns
    name: str,
    access: tuple[Stack, Unlock],
    users: tuple[tuple[int, int], ...],
    record: tuple[Format, int],
    block: int,
    settings: Settings,
    variants: str = "",
    *,
    year_bits: int = 8,
    is_bond_lost: bool = False,
) -> Model:
    return Model(
        name=name,
        stack=access[0],
        unlock=access[1],
        users=tuple(Memory(*user) for user in users),
        format=record[0],
        size=record[1],
        block=block,
        settings=settings,
        variants=tuple(variants.split()),
        year_bits=year_bits,
        is_bond_lost=is_bond_lost,
    )


MODELS = (
    _model("6320T", _KEY, ((0x0370, 100),), _L14, 44, _AT_0F74, "6320T-SH 6322T-SH"),
    _model("6321T", _KEY, ((0x0370, 100), (0x08E8, 100)), _L14, 44, _AT_0F74),
    _model("6401T", _KEY, ((0x1350, 100),), _S16, 16, _AT_0100),
    _model("6410T", _KEY, ((0x5590, 100),), _S32, 16, _AT_0100_70),
    _model("7320T", _KEY, ((0x02AC, 60), (0x05F4, 60)), _L14, 44, _AT_0260_LIN),
    _model("7322T", _KEY, ((0x02AC, 100), (0x0824, 100)), _B14, 44, _AT_0260_MIX),
    _model("7511T", _KEY, ((0x02AC, 90), (0x0798, 90)), _B14, 44, _AT_0260_MIX),
    _model(
        "8732T", _KEY, ((0x02AC, 60), (0x05F4, 60)), _B14, 44, _AT_0260_MIX, "8732T-SH"
    ),
    _model(
        "8732K", _KEY, ((0x02AC, 45), (0x0522, 45)), _B14, 44, _AT_0260_MIX, "8732K-SH"
    ),
    _model(
        "7600T",
        _KEY,
        ((0x02AC, 100),),
        _B14,
        44,
        _AT_0260_MIX,
        "7600T-SH3BK 7600T_W-SH3W",
    ),
    _model("9601T", _KEY, ((0x041A, 350),), _H24, 44, _AT_0356),
    _model("9700T", _KEY, ((0x041A, 1000),), _H24, 44, _AT_0356),
    _model("7325T", _KEY, ((0x02AC, 90),), _B14, 44, _AT_0260_MIX),
    _model(
        "6232T",
        _KEY,
        ((0x02E8, 100), (0x0860, 100)),
        _B14,
        44,
        _AT_0260_MIX8,
        year_bits=6,
    ),
    _model("1026T2", _KEY, ((0x02E8, 100), (0x0928, 100)), _L16, 44, _AT_0260_24),
    _model(
        "7530T",
        _KEY,
        ((0x02E8, 90),),
        _B14,
        16,
        _AT_0260_MIX8,
        "7271P-SH3 7271T_SH3 8630T-SH",
    ),
    _model("6161T", _KEY, ((0x02E8, 30),), _B14, 16, _AT_0260_MIX8, "7271L-SH3"),
    _model(
        "7136T",
        _KEY,
        ((0x02E8, 60),),
        _B14,
        16,
        _AT_0260_MIX8,
        "7136T-SH3 7138JT-SH 7138T-SH 7139T-SH3",
    ),
    _model("6231T", _KEY, ((0x02E8, 100),), _B14, 16, _AT_0260_MIX8, "6231T-SH"),
    _model("6231T_Z", _KEY, ((0x02E8, 90),), _B14, 16, _AT_0260_MIX8),
    _model("7153JT", _KEY, ((0x0098, 30),), _L16, 16, _AT_0010, "7153JT_ASH"),
    _model("7150T", _KEY, ((0x0098, 60),), _L16, 16, _AT_0010, "7153T_ASH"),
    _model("7157T", _KEY, ((0x0098, 100),), _L16, 16, _AT_0010),
    _model("7151T", _KEY, ((0x0098, 80),), _L16, 16, _AT_0010),
    _model(
        "7155T",
        _KEY,
        ((0x0098, 60), (0x0458, 60)),
        _L16,
        16,
        _AT_0010,
        "7155T_ASH3BK 7155T_ASH3SL",
    ),
    _model("7155T-MW", _BOND, ((0x0098, 60), (0x0458, 60)), _L16, 44, _AT_0010),
    _model("7155T-K4", _BOND, ((0x02E8, 60), (0x06A8, 60)), _L16, 56, _AT_0260_24),
    _model(
        "7155T-MW3",
        _TOKEN,
        ((0x02E8, 60), (0x06A8, 60)),
        _L16,
        56,
        _AT_0260_WIDE,
        is_bond_lost=True,
    ),
    _model("7146T", _BOND, ((0x02E8, 30),), _L14, 44, _AT_0260_16),
    _model(
        "7342T",
        _KEY,
        ((0x0098, 100), (0x06D8, 100)),
        _L16,
        16,
        _AT_0010,
        "7344JT_ASH3 7344T_ASH3BK 7344T_ASH3SL",
    ),
    _model("7361T", _KEY, ((0x0098, 100), (0x06D8, 100)), _L16, 16, _AT_0010),
    _model("7191T1", _TOKEN, ((0x01C4, 60),), _L16, 56, _AT_0010_24, is_bond_lost=True),
    _model(
        "7196T1",
        _TOKEN,
        ((0x01C4, 60), (0x0584, 60)),
        _L16,
        56,
        _AT_0010_24,
        is_bond_lost=True,
    ),
    _model(
        "7380T1",
        _TOKEN,
        ((0x01C4, 100), (0x0804, 100)),
        _L16,
        56,
        _AT_0010_24,
        is_bond_lost=True,
    ),
    _model(
        "7376T1",
        _TOKEN,
        ((0x080C, 60), (0x0BCC, 60)),
        _L16,
        56,
        _AT_0010_28,
        is_bond_lost=True,
    ),
    _model(
        "7377T1",
        _TOKEN,
        ((0x080C, 80), (0x0D0C, 80)),
        _L16,
        56,
        _AT_0010_28,
        is_bond_lost=True,
    ),
    _model(
        "7386T1",
        _TOKEN,
        ((0x080C, 100), (0x0E4C, 100)),
        _L16,
        56,
        _AT_0010_28,
        is_bond_lost=True,
    ),
    _model("7188T1", _TOKEN, ((0x01C4, 30),), _L16, 56, _AT_0010_24, is_bond_lost=True),
    _model("716BT2", _TOKEN, ((0x02E8, 30),), _L14, 44, _AT_0260_16),
    _model("7142T2", _TOKEN, ((0x02E8, 14),), _L14, 44, _AT_0260_16, "7138K-SH"),
)

_BY_NAME = {name: known for known in MODELS for name in (known.name, *known.variants)}


def model(name: str) -> Model | None:
    """Return the model of that name, with or without "HEM-"; None if unknown.

    >>> [found.name for found in (model("HEM-7155T"), model("7156T")) if found]
    ['7155T']
    """
    return _BY_NAME.get(name.strip().upper().removeprefix("HEM-"))
