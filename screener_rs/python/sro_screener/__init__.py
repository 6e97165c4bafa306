"""Exact, fast scoring of short texts, in Rust.

`Encoder` packs texts into batches with the token ids of Hugging Face tokenizers, `verdicts` turns logits into scores
and verdicts in the callers' order, and `NbLogisticModel` scores text by a linear model of its words. A score at or
above the threshold fails, everywhere.

>>> import numpy as np
>>> logits = np.array([[2.0, -1.0], [0.0, 0.0]], dtype=np.float32)
>>> scores, passed = verdicts(logits, label_index=1, threshold=0.5, permutation=np.array([1, 0]))
>>> [round(score, 3) for score in scores.tolist()], passed.tolist()
([0.5, 0.047], [False, True])

>>> from sro_screener.fit import fit_nb_logistic
>>> toxic, neutral = ["you utter fool", "what a fool", "fool again"], ["thank you", "what a day", "again tomorrow"]
>>> model = fit_nb_logistic(toxic, neutral, min_df=1, seed=0)
>>> model.toxic_words(1)[0].word
'fool'
>>> model.verdicts(["You FOOL!", "Thank you."], threshold=0.5)[1].tolist()
[False, True]
"""

from sro_screener._native import Batch, Encoder, Flat, Judgements, NbLogistic, combine, judge, verdicts
from sro_screener.calibration import Isotonic, Platt, Temperature
from sro_screener.encoding import Encoding, PackedBatch, PaddedBatch, encode_batches
from sro_screener.model import NbLogisticModel, NbSettings, ToxicWord

__all__ = [
    "Batch",
    "Encoder",
    "Encoding",
    "Flat",
    "Isotonic",
    "Judgements",
    "NbLogistic",
    "NbLogisticModel",
    "NbSettings",
    "PackedBatch",
    "PaddedBatch",
    "Platt",
    "Temperature",
    "ToxicWord",
    "combine",
    "encode_batches",
    "judge",
    "verdicts",
]
__version__ = "0.1.0"
