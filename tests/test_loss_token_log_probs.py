"""The chunked log-probabilities: gradients, dtypes, autocast, and how little reaches the head."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from maskkit.loss import linear_weighted_cross_entropy, token_log_probs


def problem(dtype=torch.float64, tokens=10, hidden=6, vocabulary=13):
    torch.manual_seed(3)

    def make(*shape):
        return torch.randn(*shape, dtype=torch.float64).to(dtype).requires_grad_()

    return make(tokens, hidden), make(vocabulary, hidden), make(vocabulary), torch.randint(0, vocabulary, (tokens,))


@pytest.mark.parametrize("chunk", [1, 3, 10, 256])
def test_values_and_gradients_do_not_depend_on_the_chunk(chunk):
    hidden, head, bias, targets = problem()
    expected = -F.cross_entropy(F.linear(hidden, head, bias), targets, reduction="none")
    found = token_log_probs(hidden, head, targets, bias=bias, chunk=chunk)
    assert torch.allclose(found, expected, atol=1e-14, rtol=0)
    scale = torch.randn(len(targets), dtype=torch.float64)
    inputs = (hidden, head, bias)
    found_gradients = torch.autograd.grad((found * scale).sum(), inputs)
    expected_gradients = torch.autograd.grad((expected * scale).sum(), inputs)
    for got, wanted in zip(found_gradients, expected_gradients, strict=True):
        assert torch.allclose(got, wanted, atol=1e-14, rtol=0)


def test_gradcheck():
    hidden, head, bias, targets = problem(tokens=5)
    assert torch.autograd.gradcheck(lambda h, w, b: token_log_probs(h, w, targets, bias=b, chunk=2), (hidden, head, bias))


@pytest.mark.parametrize(
    ("dtype", "result"), [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)]
)
def test_results_are_float32_or_better_and_gradients_keep_the_dtype(dtype, result):
    hidden, head, bias, targets = problem(dtype)
    log_probs = token_log_probs(hidden, head, targets, bias=bias, chunk=4)
    log_probs.sum().backward()
    assert log_probs.dtype == result
    assert {hidden.grad.dtype, head.grad.dtype, bias.grad.dtype} == {dtype}


def test_frozen_inputs_get_no_gradient():
    hidden, head, _, targets = problem()
    token_log_probs(hidden, head.detach(), targets).sum().backward()
    assert hidden.grad is not None
    assert head.grad is None


def test_autocast_is_that_of_a_linear_layer_with_gradients_in_float32():
    hidden, head, bias, targets = problem(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = token_log_probs(hidden, head, targets, bias=bias)
        plain = F.linear(hidden, head)
    assert plain.dtype == torch.bfloat16
    expected = -F.cross_entropy(plain.float() + bias, targets, reduction="none")
    assert torch.allclose(found, expected, atol=1e-6)
    found.sum().backward()
    exact = torch.autograd.grad(-F.cross_entropy(F.linear(hidden, head, bias), targets, reduction="sum"), head)[0]
    assert head.grad.dtype == torch.float32
    assert float((head.grad - exact).norm() / exact.norm()) < 0.02


def test_no_tokens_give_no_log_probs_and_zero_gradients():
    hidden, head, _, _ = problem()
    log_probs = token_log_probs(hidden[:0], head, torch.zeros(0, dtype=torch.long))
    log_probs.sum().backward()
    assert log_probs.shape == (0,)
    assert not head.grad.any()


def test_only_tokens_with_weight_reach_the_head():
    """Hidden states of tokens that do not count may be anything, even NaN: they are never multiplied with the head."""
    hidden = torch.randn(1, 6, 4, dtype=torch.float64)
    labels, weights = torch.tensor([[0, 1, 2, 3, 4, 5]]), torch.tensor([[0.0, 0, 1, 0, 2, 0]])
    head = torch.randn(7, 4, dtype=torch.float64)
    expected = linear_weighted_cross_entropy(hidden, head, labels, weights)
    hidden[0, [0, 2, 4, 5]] = float("nan")  # positions 1 and 3 predict tokens 2 and 4
    assert float(linear_weighted_cross_entropy(hidden, head, labels, weights)) == float(expected)
