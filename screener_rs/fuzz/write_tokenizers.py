"""Write a tokenizer file of every shape for the fuzz targets: `python fuzz/write_tokenizers.py FOLDER`.

One folder for each kind of model below FOLDER, filled with what the tests train; and the seeds of the target `load`.
"""

import json
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2] / "tests" / "screener"


def folder_of(document: dict[str, object]) -> str:
    """WordPiece, Unigram, byte-level BPE, or BPE over characters."""
    model = document["model"]
    kind = str(model["type"]) if isinstance(model, dict) else ""
    is_bytes = '"ByteLevel"' in json.dumps(document["pre_tokenizer"])
    return {"WordPiece": "wordpiece", "Unigram": "unigram"}.get(kind, "bytes" if is_bytes else "sentencepiece")


def main() -> None:
    sys.path.insert(0, str(TESTS))
    from conftest import TRAINED

    root = Path(sys.argv[1])
    for name, build in TRAINED.items():
        text = build().to_str()
        file_name = name.replace(" ", "_").replace(",", "") + ".json"
        for folder in (folder_of(json.loads(text)), "seeds"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / file_name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
