"""TRL's side of `make bench-train`: OnlineDPOTrainer, told to do what SRO's side does and nothing more."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer
from workload import ALPHA, BETA, LEARNING_RATE, RANK, TEMPERATURE, TOP_P, Meter, Workload, reward_of


class InOrder(OnlineDPOTrainer):  # type: ignore[misc]
    """Visits the prompts in the order given."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset if train_dataset is not None else self.train_dataset)


class Metered(TrainerCallback):  # type: ignore[misc]
    """Tells the meter of every step."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._meter.step_ended(state.global_step)


def main() -> None:
    workload = Workload(**json.loads(sys.argv[1]))
    assert workload.paraphrases == 2, "OnlineDPOTrainer draws two completions per prompt"
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with tempfile.TemporaryDirectory() as folder:
        config = workload.config(Path(folder))
        reward = reward_of(config, Path(folder))
        lengths: list[int] = []

        def screened(completions: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
            pad = tokenizer.pad_token_id
            lengths.append(sum(sum(token != pad for token in ids) for ids in completion_ids))
            return reward(completions)

        tokenizer = AutoTokenizer.from_pretrained(workload.leader)
        meter = Meter(last=workload.steps + 1)
        trainer = InOrder(
            model=AutoModelForCausalLM.from_pretrained(workload.leader, dtype=torch.float32),
            reward_funcs=screened,
            args=arguments(workload, folder),
            train_dataset=Dataset.from_dict({"prompt": workload.prompts(config)}),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Metered(meter)],
        )
        trainer.train()
    completions = 2 * workload.sources * workload.steps
    print(
        json.dumps(
            meter.figures(
                completions=completions, completions_in_loss=completions, scored_tokens=sum(lengths[1:]), phases={}
            )
        )
    )


def arguments(workload: Workload, folder: str) -> Any:
    """TRL at its best here: no gradient checkpointing, which would also take the key-value cache from its generation."""
    return OnlineDPOConfig(
        output_dir=folder,
        per_device_train_batch_size=workload.sources,
        max_steps=workload.steps + 1,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        beta=BETA,
        temperature=TEMPERATURE,
        top_p=TOP_P,
        top_k=0,
        max_new_tokens=workload.max_new_tokens,
        max_length=512,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to=[],
        logging_steps=100_000,
        save_strategy="no",
        disable_tqdm=True,
    )


if __name__ == "__main__":
    main()
