import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from diffclip_geo.nn.ldc import AdapterFusion, LDCConfig, LDCHead, LDCLogits, ldc_loss


def head(learned=False, classes=3, modalities=2):
    torch.manual_seed(0)
    return LDCHead(LDCConfig(8, 4, modalities, classes, 0.07, learned)).eval()


def tokens(modalities=2, batch=5, depth=4):
    torch.manual_seed(1)
    return [[torch.randn(batch, 6, 8) for _ in range(depth)] for _ in range(modalities)]


def test_blocks_count_more_the_deeper_they_are():
    torch.testing.assert_close(head().fusion.weights, torch.tensor([0.1, 0.2, 0.3, 0.4]))
    torch.testing.assert_close(head(learned=True).fusion.weights, torch.tensor([0.1, 0.2, 0.3, 0.4]))
    assert "fusion.log_weight" in dict(head(learned=True).named_parameters())
    assert "fusion.log_weight" not in dict(head().named_parameters())


def test_learned_weights_move_and_stay_shares():
    fusion = head(learned=True).fusion
    fusion(tokens())[:, 0].sum().backward()
    assert fusion.log_weight.grad.abs().max() > 0
    fusion.log_weight.data += torch.tensor([3.0, -5.0, 0.0, 1.0])
    assert fusion.weights.min() > 0 and fusion.weights.sum().item() == pytest.approx(1)


def test_adapters_by_hand():
    # One modality, two blocks, width 2, identity adapters. LayerNorm makes (1, 3) and (5, 1) into (∓1, ±1).
    fusion = AdapterFusion(LDCConfig(2, 2, 1, 3, 0.07))
    for adapter in fusion.adapters:
        nn.init.eye_(adapter[0].weight)
        nn.init.zeros_(adapter[0].bias)
    shallow = torch.tensor([[[1.0, 3.0], [5.0, 1.0]]])  # → (0, 1), (1, 0), mean (½, ½)
    deep = torch.tensor([[[0.0, 9.0], [2.0, 7.0]]])  # → (0, 1) twice
    torch.testing.assert_close(fusion([[shallow, deep]]), torch.tensor([[0.5 / 3, 0.5 / 3 + 2 / 3]]), atol=1e-4, rtol=0)


def test_modalities_share_the_adapters_and_stand_side_by_side():
    fusion, (first, second) = head().fusion, tokens()
    both = fusion([first, second])
    assert both.shape == (5, 16) and fusion.features == 16
    torch.testing.assert_close(both, torch.cat([fusion([first]), fusion([second])], 1))


def test_a_zero_residual_leaves_the_similarity_logits_as_they_were():
    network = head()
    similarity = torch.randn(5, 3) * 14
    assert torch.equal(network(similarity, torch.randn(5, 16)).deconfused, similarity)  # as it starts


def test_the_residual_is_learned_from_the_logits_and_the_feature():
    network = head()
    nn.init.normal_(network.residual[-1].weight)
    similarity, feature = torch.randn(5, 3), torch.randn(5, 16)
    before = network(similarity, feature).deconfused - similarity
    assert before.abs().max() > 0
    assert not torch.allclose(network(similarity + 1, feature).deconfused - similarity - 1, before)
    assert not torch.allclose(network(similarity, feature + 1).deconfused - similarity, before)


@pytest.mark.parametrize("size", [0.0, 1.0, 1e6])
def test_the_gate_is_between_0_and_1_and_mixes_the_branches(size):
    network = head()
    feature, similarity = torch.randn(50, 16) * size, torch.randn(50, 3)
    share = network.mixing(feature)
    assert share.shape == (50, 1) and share.min() > 0 and share.max() < 1
    logits = network(similarity, feature)
    expected = share * logits.deconfused + (1 - share) * logits.classified
    torch.testing.assert_close(logits.fused, expected)


def test_the_gate_by_hand():
    network = head()
    nn.init.zeros_(network.gate.weight)
    nn.init.constant_(network.gate.bias, math.log(3))  # sigmoid ¾
    similarity, feature = torch.randn(4, 3), torch.randn(4, 16)
    logits = network(similarity, feature)
    share = 0.001 + 0.998 * 0.75
    torch.testing.assert_close(logits.fused, share * similarity + (1 - share) * logits.classified)


def test_the_loss_by_hand():
    similarity = torch.tensor([[2.0, 0.0]])
    logits = LDCLogits(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 2.0]]))
    entropy = [math.log(1 + math.exp(-3)), math.log(2), math.log(1 + math.exp(1))]
    distance = [1 / 2, 2 / 2]
    found = ldc_loss(logits, similarity, torch.tensor([0]))
    assert found.item() == pytest.approx(sum(entropy) + sum(distance), rel=1e-6)


def test_the_distances_pull_the_branches_not_the_similarity():
    similarity = torch.randn(4, 3, requires_grad=True)
    branch = torch.randn(4, 3, requires_grad=True)
    label = torch.tensor([0, 1, 2, 0])
    fused = torch.zeros(4, 3)
    ldc_loss(LDCLogits(branch, branch, fused), similarity, label).backward()
    assert similarity.grad is None
    expected = 2 * torch.sign(branch.detach() - similarity.detach()) / 12
    entropy = 2 * (F.softmax(branch.detach(), 1) - F.one_hot(label)) / 4
    torch.testing.assert_close(branch.grad, expected + entropy)
