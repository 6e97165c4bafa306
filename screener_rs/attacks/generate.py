"""Hostile tokenizer files, made on demand: `python screener_rs/attacks/generate.py FOLDER` writes one for each name.

Each must give an error or a tokenizer in bounded time and memory; tests/screener/test_hostile_files.py holds them to it.
"""

import json
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

BPE: dict[str, Any] = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
TOKEN: dict[str, Any] = {"id": 0, "single_word": False, "lstrip": False, "rstrip": False, "special": True}


def document(model: Any = None, **parts: Any) -> str:
    return json.dumps({"version": "1.0", "model": BPE if model is None else model} | parts)


def wordpiece(vocab: dict[str, int]) -> dict[str, Any]:
    fields = {"unk_token": "u", "continuing_subword_prefix": "##", "max_input_chars_per_word": 2**40}
    return {"type": "WordPiece", "vocab": {"u": 0} | vocab, **fields}


def nested(depth: int) -> str:
    inner: str = '{"type": "NFC"}'
    start, end = '{"type": "Sequence", "normalizers": [', "]}"
    return document().replace('"version"', f'"normalizer": {start * depth}{inner}{end * depth}, "version"')


def tokens(contents: list[str], normalized: bool) -> list[dict[str, Any]]:
    return [TOKEN | {"content": content, "normalized": normalized, "id": at} for at, content in enumerate(contents)]


ATTACKS: dict[str, Callable[[], str]] = {
    "brackets without end": lambda: "[" * 1_000_000,
    "normalizers a hundred thousand deep": lambda: nested(100_000),
    "normalizers a hundred deep": lambda: nested(100),
    "ten thousand normalizers": lambda: document(
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}] * 10_000}
    ),
    "a hundred thousand tokens of one id": lambda: document(
        BPE | {"vocab": {"a": 0, "b": 0, "ab": 0} | {f"t{n}": 0 for n in range(100_000)}}
    ),
    "one key twice": lambda: document().replace('"a": 0', '"a": 0, "a": 7'),
    "the largest id": lambda: document(BPE | {"vocab": {"a": 2**31 - 1, "b": 1, "ab": 2}}),
    "an id beyond": lambda: document(BPE | {"vocab": {"a": 2**63, "b": 1, "ab": 2}}),
    "ids that are fractions": lambda: document(BPE | {"vocab": {"a": 0.5, "b": 1, "ab": 2}}),
    "a token of a megabyte": lambda: document(BPE | {"vocab": BPE["vocab"] | {"a" * 1_000_000: 3}}),
    "a piece of a megabyte": lambda: document(wordpiece({"a": 1, "##a": 2, "##" + "a" * 1_000_000: 3})),
    "merges of each with each": lambda: document(
        {
            "type": "BPE",
            "vocab": {
                token: at
                for at, token in enumerate(
                    ["a", "b", *("".join(p) for n in range(2, 15) for p in product("ab", repeat=n))]
                )
            },
            "merges": [f"{'a' * n} {'a' * n}" for n in range(1, 7)],
        }
    ),
    "one merge a hundred thousand times": lambda: document(BPE | {"merges": ["a b"] * 100_000}),
    "pieces that fill every branch": lambda: document(
        wordpiece({"".join(map(chr, pair)): at for at, pair in enumerate(product(range(0x100, 0x240), repeat=2))})
    ),
    "scores out of range": lambda: document(
        {"type": "Unigram", "unk_id": 0, "vocab": [["u", 0], ["a", -1e308], ["aa", -1e308]]}
    ),
    "an unknown id out of range": lambda: document({"type": "Unigram", "unk_id": 2**60, "vocab": [["u", 0.0]]}),
    "fifty thousand added tokens with one start": lambda: document(
        added_tokens=tokens(["x" * 40 + str(n) for n in range(50_000)], False)
    ),
    "an added token of a megabyte": lambda: document(added_tokens=tokens(["y" * 1_000_000, "y" * 999_999], True)),
    "added tokens of one byte": lambda: document(added_tokens=tokens([chr(n) for n in range(1, 0x3000)], True)),
    "a charsmap that points to itself": lambda: document(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "BAAAAAD///8A"}
    ),
    "a charsmap of a megabyte": lambda: document(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA" * 350_000}
    ),
    "a size that does not fit": lambda: document(
        normalizer={"type": "Precompiled", "precompiled_charsmap": "////////AAAA"}
    ),
    "a replacement that doubles": lambda: document(
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 12,
        }
    ),
    "a model that is a list": lambda: document([BPE]),
    "a vocabulary that is a number": lambda: document(BPE | {"vocab": 3}),
    "merges that are objects": lambda: document(BPE | {"merges": [{"a": "b"}] * 1000}),
    "a template of a hundred thousand pieces": lambda: document(
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "s", "type_id": 0}}] * 100_000
            + [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"s": {"id": "s", "ids": [0], "tokens": ["s"]}},
        }
    ),
}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in ATTACKS.items():
        (folder / f"{name.replace(' ', '_')}.json").write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
