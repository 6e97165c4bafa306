"""What one screened paraphrase contributes to the loss: one objective a module, all from the same scores. Pure."""

from sro_trainer.loss.bco import bco_loss
from sro_trainer.loss.dpo import dpo_loss
from sro_trainer.loss.ipo import ipo_loss
from sro_trainer.loss.kto import kto_loss
from sro_trainer.loss.npo import npo_loss
from sro_trainer.loss.online_dpo import online_dpo_loss
from sro_trainer.loss.scores import Scores, on_rows, smoothed
from sro_trainer.loss.sft import sft_loss
from sro_trainer.loss.sro import group_pair_losses, sro_loss

__all__ = [
    "Scores",
    "bco_loss",
    "dpo_loss",
    "group_pair_losses",
    "ipo_loss",
    "kto_loss",
    "npo_loss",
    "on_rows",
    "online_dpo_loss",
    "sft_loss",
    "smoothed",
    "sro_loss",
]
