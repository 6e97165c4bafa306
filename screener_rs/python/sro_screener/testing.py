"""Texts that find differences between a tokenizer and its reference."""

import random
import sys
from collections.abc import Callable, Iterator, Sequence

SURROGATES = range(0xD800, 0xE000)
PLANES = [range(plane << 16, (plane + 1) << 16) for plane in range(17)]
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x200C, 0x200D, 0x200E, 0x2028, 0x2029, 0xFEFF, 0xFFFD]
SPACES = [0x20, 0x09, 0x0A, 0x0D, 0x0B, 0x0C, 0x1C, 0x85, 0xA0, 0x1680, 0x2003, 0x202F, 0x205F, 0x3000]
BLOCKS = [
    range(0x20, 0x7F),
    range(0xA0, 0x250),
    range(0x300, 0x370),
    range(0x370, 0x530),
    range(0x590, 0x700),
    range(0x900, 0xE80),
    range(0x1100, 0x1200),
    range(0x1E00, 0x2000),
    range(0x2000, 0x2C00),
    range(0x3000, 0x3200),
    range(0x4E00, 0x5200),
    range(0xA640, 0xA800),
    range(0xAC00, 0xB000),
    range(0xF900, 0x10000),
    range(0x1D400, 0x1D800),
    range(0x1F300, 0x1FA00),
    range(0x20000, 0x20200),
]
FRAGMENTS = [
    *(
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[PAD]",
        "[UNK]",
        "<s>",
        "</s>",
        "<unk>",
        "<mask>",
        "<sep>",
        "<cls>",
        "<eod>",
        "<eop>",
    ),
    *(
        "<|endoftext|>",
        "|||IP_ADDRESS|||",
        "|||EMAIL_ADDRESS|||",
        "<|padding|>",
        "[unused3]",
        "[mask]",
        "<MASK>",
        " [MASK] ",
    ),
    *(
        "''",
        "``",
        "'s",
        "'S",
        "'\u017f",
        "'ll",
        "'re",
        "don't",
        "''s",
        "##ing",
        "▁",
        "▁a",
        "Ġ",
        "é",
        "e\u0301",
        "ﬁ",
        "ǆ",
        "ß",
        "İ",
    ),
    *(
        "ΟΔΟΣ",
        "\r\n",
        "\n\n",
        "  ",
        "   ",
        " " * 24,
        "\t\t",
        "한글",
        "語",
        "ไทย",
        "नमस्ते",
        "👩‍👩‍👧‍👦",
        "🇩🇪",
        "e\u0301\u0327",
        "\u0000",
        "½",
        "Ⅷ",
        "٣",
        "①",
    ),
]

SHAPES = ("{0}", "a{0}b", "É{0} {0}x", "'{0}{0}1")


def _char(rng: random.Random, ranges: list[range]) -> str:
    point = rng.choice(rng.choice(ranges))
    return "\ufffd" if point in SURROGATES else chr(point)


def _letters(rng: random.Random) -> str:
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyzABCXYZ0129_-.,'!") for _ in range(rng.randint(1, 18)))


def _piece(rng: random.Random) -> str:
    kinds: list[Callable[[], str]] = [
        lambda: _letters(rng),
        lambda: _letters(rng) + " ",
        lambda: chr(rng.choice(SPACES)),
        lambda: chr(rng.choice(CONTROLS)),
        lambda: rng.choice(FRAGMENTS),
        lambda: _char(rng, BLOCKS),
        lambda: "".join(_char(rng, BLOCKS[2:4]) for _ in range(rng.randint(1, 5))),
        lambda: _char(rng, PLANES),
        lambda: rng.choice(["a", "é", "語", "\u0301", " ", "!", "\n", "▁"]) * rng.randint(1, 120),
    ]
    weights = [20, 20, 10, 4, 8, 20, 8, 8, 1]
    return rng.choices(kinds, weights)[0]()


def generated_text(rng: random.Random) -> str:
    """One text of 0 to 24 pieces: words, spaces, controls, added tokens, characters of every plane, repeats."""
    return "".join(_piece(rng) for _ in range(rng.randint(0, 24)))


def hostile_texts() -> list[str]:
    """Empty and blank texts, and texts of 100 kB: repeats, one endless word, mixed scripts, all controls."""
    rng = random.Random(1)
    size = 100_000
    mixed = "".join(generated_text(rng) for _ in range(1500))[: size // 2]
    blanks = ["", " ", "\n", "\t \r\n", "\u3000", "\u0000", "".join(map(chr, CONTROLS)), "".join(map(chr, SPACES))]
    return [
        *blanks,
        *(
            unit * (size // len(unit.encode()))
            for unit in ("a", "ab ", "é", "語", "e\u0301", " ", "\n", "!", "'", "a1", "🇩🇪")
        ),
        mixed,
        mixed.replace(" ", ""),
    ]


def generated_texts(count: int, seed: int = 0) -> Iterator[str]:
    """`count` texts, the hostile ones first; the same for the same seed."""
    hostile = hostile_texts()[:count]
    yield from hostile
    rng = random.Random(seed)
    for _ in range(count - len(hostile)):
        yield generated_text(rng)


def code_point_texts(shapes: Sequence[str] = SHAPES) -> list[str]:
    """Every code point in each shape, alone, between letters, after a capital letter, doubled; 256 to a text."""
    points = [point for point in range(sys.maxunicode + 1) if point not in SURROGATES]
    return [
        " ".join(shape.format(chr(point)) for point in points[start : start + 256])
        for shape in shapes
        for start in range(0, len(points), 256)
    ]
