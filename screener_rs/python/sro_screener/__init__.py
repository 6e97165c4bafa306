from sro_screener._native import Batch, Encoder, NbLogistic, verdicts
