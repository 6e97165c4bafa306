"""A hostile tokenizer file gives an error or a tokenizer, within seconds of CPU and little memory."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "screener_rs" / "attacks" / "generate.py"
# The limits are the operating system's: a loader that is caught in a loop or asks for the world is killed.
PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from sro_screener import Encoder
try:
    Encoder.from_file(sys.argv[1], None).encode_ids(["", "a b ab", "aaaaaaaaaaaa xxxxxxxx \\u0301"], threads=1)
    print("loaded")
except ValueError as error:
    print("refused", str(error)[:300])
"""


def attacks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("attacks", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ATTACKS = attacks().ATTACKS
REFUSED = {
    "brackets without end": "not JSON: recursion limit exceeded",
    "normalizers a hundred thousand deep": "not JSON: recursion limit exceeded",
    "an id beyond": 'model.vocab["a"]: 9223372036854775808 is not a token id below 2^31',
    "ids that are fractions": 'model.vocab["a"]: 0.5 is not a token id below 2^31',
    "an unknown id out of range": "model.unk_id: 1152921504606846976 is not an index into model.vocab",
    "a size that does not fit": "is not a SentencePiece charsmap",
    "a model that is a list": "model.type: no type, and no fields that tell it is not supported",
    "a vocabulary that is a number": "model.vocab: 3 is not an object",
    "merges that are objects": 'model.merges[0]: {"a":"b"} is not an array',
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_file_is_refused_or_loads_within_its_limits(name: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(ATTACKS[name](), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome, _, message = done.stdout.strip().partition(" ")
    assert outcome in ({"refused"} if name in REFUSED else {"refused", "loaded"})
    assert REFUSED.get(name, "") in message
