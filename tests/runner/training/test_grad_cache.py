"""The loss is the textbook one, and its gradient does not depend on how the batch was cut."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from runner.model.encoder import POOLING, make_encoder
from runner.training.grad_cache import MemoryBudget, backward, micro_batches
from runner.training.loss import Objective, info_nce
from support.backbones import examples_for
from sweeps.methods import Full, LoRA
from sweeps.models import find_model

NANO = find_model("nano-25k")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def unit(rows: int, dim: int = 8) -> torch.Tensor:
    return normalize(torch.randn(rows, dim, dtype=torch.float64), dim=-1)


def test_info_nce_is_the_mean_of_both_directions():
    query, document = unit(5), unit(5)
    logits = (query @ document.T / 0.1).numpy()
    rows = np.mean([np.log(np.exp(logits[i]).sum()) - logits[i, i] for i in range(5)])
    columns = np.mean([np.log(np.exp(logits[:, i]).sum()) - logits[i, i] for i in range(5)])
    assert info_nce(query, document, 0.1).item() == pytest.approx((rows + columns) / 2, abs=1e-12)


def test_equal_vectors_give_the_loss_of_chance():
    same = torch.ones(64, 4, dtype=torch.float64) / 2
    assert info_nce(same, same, 0.05).item() == pytest.approx(math.log(64))


def test_pairs_of_one_group_are_not_negatives_of_each_other():
    query, document = unit(4), unit(4)
    same_group_ids = torch.tensor([[0, 0, 2, 3], [4, 5, 6, 7]])
    kept = torch.tensor([[0, 2, 3], [1, 2, 3]])
    logits = query @ document.T / 0.1
    rows = [torch.logsumexp(logits[i, kept[i]], 0) - logits[i, i] for i in (0, 1)]
    rows += [torch.logsumexp(logits[i], 0) - logits[i, i] for i in (2, 3)]
    columns = [torch.logsumexp(logits[kept[i], i], 0) - logits[i, i] for i in (0, 1)]
    columns += [torch.logsumexp(logits[:, i], 0) - logits[i, i] for i in (2, 3)]
    expected = (torch.stack(rows).mean() + torch.stack(columns).mean()) / 2
    assert info_nce(query, document, 0.1, same_group_ids).item() == pytest.approx(expected.item(), abs=1e-12)


def test_a_hard_negative_is_one_more_candidate_of_every_query():
    query, document, negative = unit(3), unit(3), unit(2)
    assert info_nce(query, document, 0.1, negative=negative) > info_nce(query, document, 0.1)
    far = -query.sum(0, keepdim=True) * 100
    assert info_nce(query, document, 0.1, negative=far).item() == pytest.approx(
        info_nce(query, document, 0.1).item(), abs=1e-6
    )


@given(st.integers(1, 12), st.integers(0, 3), st.integers(1, 200), st.integers(1, 12), st.integers(0, 99))
def test_pieces_of_rows_change_neither_the_loss_nor_its_gradients(pairs, negatives, similarities, groups, seed):
    torch.manual_seed(seed)
    vectors = unit(2 * pairs + negatives)
    same_group_ids = torch.randint(groups, (2, pairs))

    def loss_and_gradient(similarities: int) -> tuple[float, torch.Tensor]:
        leaf = vectors.clone().requires_grad_()
        query, document, rest = leaf.split([pairs, pairs, negatives])
        value = info_nce(query, document, 0.05, same_group_ids, rest if negatives else None, similarities)
        value.backward()
        return value.item(), leaf.grad

    whole, pieces = loss_and_gradient(10**9), loss_and_gradient(similarities)
    assert pieces[0] == pytest.approx(whole[0], abs=1e-12)
    torch.testing.assert_close(pieces[1], whole[1], rtol=1e-10, atol=1e-12)


def test_one_direction_is_the_loss_of_the_queries():
    query, document, negative = unit(5), unit(5), unit(3)
    logits = query @ torch.cat([document, negative]).T / 0.1
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(5))
    found = info_nce(query, document, 0.1, negative=negative, symmetric=False)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


@given(st.floats(0, 1), st.integers(0, 99))
def test_candidates_beyond_the_margin_are_left_out(margin, seed):
    torch.manual_seed(seed)
    query, document, negative = unit(6), unit(6), unit(3)
    cosines = query @ torch.cat([document, negative]).T
    own = cosines.diagonal()
    forth, back = [], []
    for i in range(6):
        kept = [j for j in range(9) if j == i or cosines[i, j] <= own[i] + margin]
        forth.append(torch.logsumexp(cosines[i, kept] / 0.1, 0) - own[i] / 0.1)
        kept = [j for j in range(6) if j == i or cosines[j, i] <= own[i] + margin]
        back.append(torch.logsumexp(cosines[kept, i] / 0.1, 0) - own[i] / 0.1)
    expected = (torch.stack(forth).mean() + torch.stack(back).mean()) / 2
    found = info_nce(query, document, 0.1, negative=negative, margin=margin, similarities=20)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)


def test_shorter_vectors_count_as_much_as_whole_ones():
    query, document = unit(5), unit(5)
    parts = [info_nce(normalize(query[:, :d], dim=1), normalize(document[:, :d], dim=1), 0.1) for d in (2, 4, 8)]
    found = Objective(dims=(2, 4)).loss(query, document, 0.1)
    assert found.item() == pytest.approx(sum(parts).item() / 3, abs=1e-12)


def test_a_learnt_temperature_starts_where_it_is_told_and_moves(training):
    from dataclasses import replace

    from runner.trainer import train_encoder
    from sweeps.trial import Trial

    asked = replace(training, learn_temperature=True, temperature=0.2)
    trial = Trial("nano-25k", LoRA(4), asked, lr=1e-2, steps=10)
    observation, encoder = train_encoder(trial)
    assert observation.trainable == LoRA(4).trainable(NANO)  # the temperature is no part of T
    assert encoder.temperature(0.2).item() != pytest.approx(0.2, rel=1e-3)
    encoder.zero_grad()
    vectors, nudge = unit(12).float(), 1e-3
    with torch.no_grad():
        encoder.logit_scale.fill_(math.log(5))
    Objective().loss(vectors[:6], vectors[6:], encoder.temperature(0.2)).backward()
    sides = [info_nce(vectors[:6], vectors[6:], 0.2 * math.exp(-step)).item() for step in (nudge, -nudge)]
    assert encoder.logit_scale.grad.item() == pytest.approx((sides[0] - sides[1]) / (2 * nudge), rel=1e-2)
    assert make_encoder(NANO, Full(), "mean", torch.device("cpu"), 0).temperature(0.2) == 0.2


def test_very_similar_vectors_do_not_overflow():
    query = normalize(torch.ones(8, 4), dim=-1)
    assert torch.isfinite(info_nce(query, query, 1e-6))


@given(st.lists(st.integers(1, 300), min_size=1, max_size=80), st.integers(1, 1000), st.integers(0, 500))
def test_micro_batches_hold_each_text_once_and_respect_the_size(lengths, tokens, padding):
    lengths = np.array(lengths)
    cuts = micro_batches(lengths, tokens, padding)
    assert sorted(np.concatenate(cuts)) == list(range(len(lengths)))
    for cut in cuts:
        assert len(cut) == 1 or len(cut) * lengths[cut].max() <= tokens
        assert (lengths[cut].max() - lengths[cut]).sum() <= padding


@pytest.mark.parametrize("pooling", POOLING)
@pytest.mark.parametrize("method", [*examples_for(NANO), LoRA(4, token_table="adapter")], ids=lambda m: m.label)
@pytest.mark.parametrize("kept", [0, 150, 10**9], ids=["cached", "partly", "kept"])
def test_the_gradient_does_not_depend_on_the_micro_batches(method, pooling, kept):
    random = np.random.default_rng(0)
    texts = [random.integers(2, 4096, size=n) for n in random.integers(3, 30, size=16)]
    encoder = make_encoder(NANO, method, pooling, torch.device("cpu"), seed=0).double()
    with torch.no_grad():  # an untrained adapter's B is zero, and would hide wrong gradients of A
        for parameter in encoder.parameters():
            parameter += 0.01 * torch.randn_like(parameter) * parameter.requires_grad
    same_group_ids = torch.tensor([[0, 1, 2, 3, 0, 5]])

    def loss(vectors: torch.Tensor) -> torch.Tensor:
        return info_nce(vectors[:6], vectors[6:12], 0.05, same_group_ids, vectors[12:])

    plain = loss(torch.cat([encoder.embed([text]) for text in texts]))  # no padding at all
    plain.backward()
    expected = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    encoder.zero_grad()
    cost = backward(encoder, texts, loss, MemoryBudget(64, graph_tokens=kept, state_tokens=kept // 2))
    assert cost.loss == pytest.approx(plain.item(), rel=1e-12)
    assert (cost.recomputed_tokens == 0) == (kept == 10**9)
    assert expected
    for name, parameter in encoder.named_parameters():
        if name in expected:
            torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-6, atol=1e-9)
