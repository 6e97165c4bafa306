"""Scoring: both leader kinds against transformers' own path, and the reference where the policy starts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from sro_api.training import AdapterSpec, LoraSpec
from sro_trainer.leader import Leader, Rows, Snapshot, build_leader, build_rows
from sro_trainer.models import switch_dropout_off
from sro_trainer.plain import PlainPolicy
from sro_trainer.testing import tiny_leader
from sro_trainer.tokens import Codec, Task

SOURCES = ["you are an idiot today", "we were stupid at work every day and again"]
PARAPHRASES = ["you are late", "we sound like a neighbour at home today"]
FAMILIES = ["llama", "gpt2", "t5", "bart"]


def task_of(family: str) -> Task:
    return "seq2seq" if family in ("t5", "bart") else "causal"


def codec_of(family: str) -> Codec:
    tokenizer = tiny_leader(family).tokenizer
    return Codec(tokenizer, task_of(family), None, frozenset([tokenizer.eos_token_id]))


def rows_of(family: str, targets: list[str] = PARAPHRASES) -> Rows:
    codec = codec_of(family)
    return build_rows(
        codec.prompts(SOURCES),
        range(len(targets)),
        codec.targets(targets),
        filler=codec.filler,
        device=torch.device("cpu"),
    )


def leader_of(family: str, adapter: AdapterSpec, snapshot: Snapshot | None = None) -> Leader:
    model = tiny_leader(family).model
    # As `load_model` does before it makes the weights: T5, GPT-2 and BART come with dropout.
    config = copy.deepcopy(model.config)
    switch_dropout_off(config)
    silent = type(model)(config)
    silent.load_state_dict(model.state_dict())
    return build_leader(silent, task_of(family), adapter, seed=1, snapshot=snapshot)


def disturbed(leader: Leader) -> Leader:
    """The leader after learning something."""
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in leader.trained().values():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return leader


@pytest.mark.parametrize("family", FAMILIES)
def test_log_probabilities_equal_those_behind_transformers_own_loss(family: str) -> None:
    leader, codec = leader_of(family, AdapterSpec()), codec_of(family)
    ours = leader(rows_of(family)).sum(-1)
    for row, (prompt, target) in enumerate(zip(codec.prompts(SOURCES), codec.targets(PARAPHRASES), strict=True)):
        ids = torch.tensor([prompt if task_of(family) == "seq2seq" else prompt + target])
        labels = torch.tensor([target if task_of(family) == "seq2seq" else [-100] * len(prompt) + target])
        loss = leader.policy(input_ids=ids, labels=labels).loss
        assert float(ours[row].detach()) == pytest.approx(-float(loss.detach()) * len(target), abs=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapter", ["LoRA", "Full"])
def test_policy_and_reference_agree_before_the_first_step(family: str, adapter: str) -> None:
    leader, rows = leader_of(family, AdapterSpec(type=adapter)), rows_of(family)
    leader.train()
    policy = leader(rows)
    leader.eval()
    logratio = policy.sum(-1) - leader(rows, "reference").sum(-1)
    assert logratio.abs().max() < 1e-4


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("adapter", ["LoRA", "Full"])
def test_after_a_warm_start_the_reference_is_the_warm_started_leader(family: str, adapter: str) -> None:
    spec, rows = AdapterSpec(type=adapter), rows_of(family)
    warm = disturbed(leader_of(family, spec))
    snapshot = {name: value.detach().clone() for name, value in warm.trained().items()}
    game = leader_of(family, spec, snapshot)
    torch.testing.assert_close(game(rows), warm(rows))
    torch.testing.assert_close(game(rows, "reference"), warm(rows))
    assert (game(rows, "reference") - leader_of(family, spec)(rows)).abs().max() > 1e-3


@pytest.mark.parametrize("adapter", ["LoRA", "Full"])
def test_the_reference_stays_when_the_policy_moves(adapter: str) -> None:
    leader, rows = leader_of("llama", AdapterSpec(type=adapter)), rows_of("llama")
    before = leader(rows, "reference").detach()
    disturbed(leader)
    torch.testing.assert_close(leader(rows, "reference"), before)
    assert (leader(rows) - before).abs().max() > 1e-3


def test_asking_the_reference_leaves_the_policy_trainable() -> None:
    leader = leader_of("llama", AdapterSpec())
    trained = set(leader.trained())
    with torch.no_grad():
        leader(rows_of("llama"), "reference")
    leader(rows_of("llama")).sum().backward()
    assert set(leader.trained()) == trained
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in leader.trained().values())


def test_only_adapters_are_trained_with_lora_and_in_float32() -> None:
    model = tiny_leader("llama").model.bfloat16()
    leader = build_leader(model, "causal", AdapterSpec(lora=LoraSpec(rank=2)), seed=0, snapshot=None)
    assert {parameter.dtype for parameter in leader.trained().values()} == {torch.float32}
    assert all(".lora_" in name for name in leader.trained())
    assert leader.policy.model.embed_tokens.weight.dtype == torch.bfloat16
    assert leader(rows_of("llama")).dtype == torch.float32


def test_padding_changes_no_log_probability() -> None:
    leader = leader_of("llama", AdapterSpec())
    together = leader(rows_of("llama"))
    codec = codec_of("llama")
    alone = leader(
        build_rows(
            codec.prompts(SOURCES[:1]),
            [0],
            codec.targets(PARAPHRASES[:1]),
            filler=codec.filler,
            device=torch.device("cpu"),
        )
    )
    torch.testing.assert_close(together[0, : alone.shape[1]], alone[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_source_and_its_paraphrase_share_one_prompt(family: str) -> None:
    codec, leader = codec_of(family), leader_of(family, AdapterSpec())
    shared = build_rows(
        codec.prompts(SOURCES[:1]), [0, 0], codec.targets([PARAPHRASES[0], SOURCES[0]]), filler=codec.filler,
        device=torch.device("cpu"),
    )  # fmt: skip
    twice = build_rows(
        codec.prompts([SOURCES[0]] * 2), [0, 1], codec.targets([PARAPHRASES[0], SOURCES[0]]), filler=codec.filler,
        device=torch.device("cpu"),
    )  # fmt: skip
    torch.testing.assert_close(leader(shared), leader(twice))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("adapter", ["LoRA", "Full"])
def test_packed_and_padded_rows_give_equal_values_and_gradients(family: str, adapter: str) -> None:
    codec, leader = codec_of(family), disturbed(leader_of(family, AdapterSpec(type=adapter)))
    assert leader.is_lean
    # A prompt with two targets, one with three of which two are the same, one with a single one.
    texts = [*PARAPHRASES, *SOURCES, PARAPHRASES[0], PARAPHRASES[0]]
    prompts = codec.prompts([*SOURCES, "you are"])
    rows = build_rows(
        prompts, [0, 1, 0, 1, 1, 2], codec.targets(texts), filler=codec.filler, device=torch.device("cpu")
    )
    weights = torch.linspace(-1.0, 1.0, len(texts))
    results = []
    for lean in (True, False):
        leader.is_lean = lean
        leader.zero_grad()
        values = leader(rows)
        (values.sum(-1) * weights).sum().backward()
        results.append((values.detach(), {n: p.grad for n, p in leader.trained().items() if p.grad is not None}))
    (packed, packed_gradients), (padded, padded_gradients) = results
    torch.testing.assert_close(packed, padded, atol=2e-5, rtol=1e-5)
    assert packed_gradients.keys() == padded_gradients.keys()
    for name, gradient in padded_gradients.items():
        torch.testing.assert_close(packed_gradients[name], gradient, atol=1e-4, rtol=1e-3)


def test_a_leader_whose_logits_are_not_its_heads_is_scored_by_itself() -> None:
    model = tiny_leader("llama").model
    plain = model.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        output = plain(*args, **kwargs)
        output.logits = output.logits * 0.5
        return output

    model.forward = scaled
    leader = build_leader(model, "causal", AdapterSpec(), seed=0, snapshot=None)
    assert not leader.is_lean


def test_a_leader_that_looks_past_its_mask_is_not_packed() -> None:
    model = tiny_leader("llama").model
    inner = model.model.forward

    def remembering(*args: Any, **kwargs: Any) -> Any:
        output = inner(*args, **kwargs)
        # As a recurrent layer would: each token knows all before it, whatever the mask says.
        output.last_hidden_state = output.last_hidden_state + 1e-3 * output.last_hidden_state.cumsum(1)
        return output

    model.model.forward = remembering
    assert not build_leader(model, "causal", AdapterSpec(), seed=0, snapshot=None).is_lean


def test_the_fused_adapter_computes_what_peft_does() -> None:
    fused, plain = (disturbed(leader_of("llama", AdapterSpec())) for _ in range(2))
    for layer in plain.adapters:
        del layer.forward
    for leader in (fused, plain):
        leader(rows_of("llama")).sum().backward()
    torch.testing.assert_close(fused(rows_of("llama")), plain(rows_of("llama")), atol=1e-5, rtol=1e-5)
    for name, parameter in plain.trained().items():
        torch.testing.assert_close(fused.trained()[name].grad, parameter.grad, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_plain_policy_computes_what_the_adapted_one_does(family: str) -> None:
    leader = disturbed(leader_of(family, AdapterSpec()))
    plain = PlainPolicy(leader)
    merged = Leader(copy.deepcopy(plain.refresh()), None, task_of(family))
    torch.testing.assert_close(merged(rows_of(family)), leader(rows_of(family)), atol=1e-4, rtol=1e-4)


def test_the_plain_policy_follows_the_policy() -> None:
    leader = leader_of("llama", AdapterSpec())
    plain = PlainPolicy(leader)
    before = {name: value.clone() for name, value in plain.refresh().state_dict().items()}
    disturbed(leader)
    after = plain.refresh().state_dict()
    moved = [name for name, value in after.items() if not torch.equal(value, before[name])]
    assert moved
    assert all("proj" in name for name in moved)


def test_adapters_start_alike_for_the_same_seed() -> None:
    one, other = leader_of("llama", AdapterSpec()).trained(), leader_of("llama", AdapterSpec()).trained()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
