"""Every way to compute the log-probabilities gives the values and gradients of full logits, for every head there is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from maskkit.errors import ConfigError, TrainingError, UnknownNameError
from maskkit.loss import BACKENDS, Projection, check_backend, linear_weighted_cross_entropy, predicted
from maskkit.loss.predicted import TOP

HEADS = {
    "plain": {},
    "bias": {"bias": True},
    "scaled": {"scale": 0.125},
    "capped": {"softcap": 2.0},
    "all": {"bias": True, "scale": 3.0, "softcap": 1.5},
}
EVERY_HEAD = pytest.mark.parametrize("head", HEADS)
FAST = pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "full-logits"])


def problem(head="plain", dtype=torch.float64, tokens=11, size=6, vocabulary=29):
    torch.manual_seed(4)

    def make(*shape):
        return torch.randn(*shape, dtype=torch.float64).to(dtype).requires_grad_()

    shape = dict(HEADS[head])
    bias = make(vocabulary) if shape.pop("bias", False) else None
    coefficients = torch.randn(tokens, dtype=torch.float64)
    return make(tokens, size), Projection(make(vocabulary, size), bias, **shape), torch.randint(0, vocabulary, (tokens,)), coefficients


def inputs_of(hidden, projection):
    return [tensor for tensor in (hidden, projection.weight, projection.bias) if tensor is not None]


def gradients(log_prob, coefficients, inputs, factor=1.0):
    loss = -(log_prob.to(coefficients.dtype) * coefficients).sum() * factor
    return torch.autograd.grad(loss, inputs)


@FAST
@EVERY_HEAD
@pytest.mark.parametrize("chunk", [None, 3])
def test_values_and_gradients_are_those_of_full_logits(backend, head, chunk):
    hidden, projection, targets, coefficients = problem(head)
    if backend == "torch" and projection.softcap:
        with pytest.raises(ConfigError, match="cannot cap logits"):
            predicted(hidden, projection, targets, backend=backend)
        return
    expected = -F.cross_entropy(projection.logits(hidden), targets, reduction="none")
    found = predicted(hidden, projection, targets, backend=backend, coefficients=coefficients, chunk=chunk).log_prob
    assert torch.allclose(found, expected, atol=1e-13, rtol=0)
    inputs = inputs_of(hidden, projection)
    for got, wanted in zip(gradients(found, coefficients, inputs, 0.3), gradients(expected, coefficients, inputs, 0.3), strict=True):
        assert torch.allclose(got, wanted, atol=1e-12, rtol=0)


@FAST
def test_a_matrix_that_is_also_the_embedding_gets_both_gradients(backend):
    _, projection, targets, coefficients = problem()
    results = []
    for how in (backend, "full-logits"):
        hidden = torch.tanh(projection.weight[targets] * 2.0)
        log_prob = predicted(hidden, projection, targets, backend=how, coefficients=coefficients).log_prob
        results.append(gradients(log_prob, coefficients, [projection.weight])[0])
    assert torch.allclose(*results, atol=1e-13, rtol=0)


@FAST
def test_nothing_to_predict_gives_zero_gradients(backend):
    hidden, projection, targets, coefficients = problem("bias")
    found = predicted(hidden[:0], projection, targets[:0], backend=backend, coefficients=coefficients[:0]).log_prob
    assert len(found) == 0
    for gradient in gradients(found, coefficients[:0], inputs_of(hidden, projection)):
        assert not gradient.any()


@pytest.mark.parametrize("backend", ["recompute", "single-pass"])
def test_a_frozen_head_costs_no_gradient_of_its_own(backend):
    hidden, projection, targets, coefficients = problem("bias")
    frozen = Projection(projection.weight.detach(), projection.bias.detach())
    log_prob = predicted(hidden, frozen, targets, backend=backend, coefficients=coefficients).log_prob
    expected = predicted(hidden, projection, targets, backend="full-logits").log_prob
    found, wanted = (gradients(each, coefficients, [hidden])[0] for each in (log_prob, expected))
    assert torch.allclose(found, wanted, atol=1e-13, rtol=0)


@pytest.mark.parametrize("backend", ["recompute", "full-logits"])
@EVERY_HEAD
def test_statistics_are_what_their_formulas_say(backend, head):
    hidden, projection, targets, _ = problem(head)
    found = predicted(hidden, projection, targets, backend=backend, needs=("entropy", "top_entropy", "top1"), chunk=4)
    probabilities = torch.softmax(projection.logits(hidden), -1).detach()
    assert torch.allclose(found.entropy, torch.special.entr(probabilities).sum(-1), atol=1e-13)
    top = probabilities.sort(descending=True).values[:, :TOP]
    assert torch.allclose(found.top_entropy, torch.special.entr(top / top.sum(-1, keepdim=True)).sum(-1), atol=1e-13)
    assert found.top1.tolist() == (probabilities.argmax(-1) == targets).tolist()
    assert not any(column.requires_grad for column in (found.entropy, found.top_entropy, found.top1))
    log_prob = predicted(hidden, projection, targets, backend="full-logits").log_prob
    for got, wanted in zip(torch.autograd.grad(found.log_prob.sum(), hidden), torch.autograd.grad(log_prob.sum(), hidden), strict=True):
        assert torch.allclose(got, wanted, atol=1e-13)


def test_what_is_not_asked_for_is_not_there():
    found = predicted(*problem()[:3], needs=("entropy",))
    assert (found.top_entropy, found.top1) == (None, None)


def test_a_single_pass_is_used_only_where_it_may_be(monkeypatch):
    hidden, projection, targets, coefficients = problem()
    used = []
    monkeypatch.setattr("maskkit.loss.backends.single_pass", lambda *_, **__: used.append(1))
    predicted(hidden, projection, targets, coefficients=coefficients)
    assert used == [1]
    predicted(hidden, projection, targets)
    predicted(hidden, projection, targets, coefficients=coefficients, needs=("entropy",))
    predicted(hidden, projection, targets, coefficients=coefficients, backend="recompute")
    with torch.no_grad():
        predicted(hidden, projection, targets, coefficients=coefficients)
    assert used == [1]


def test_a_single_pass_notices_another_loss():
    hidden, projection, targets, coefficients = problem()
    other = coefficients.clone()
    other[3] += 0.01
    log_prob = predicted(hidden, projection, targets, coefficients=coefficients).log_prob
    with pytest.raises(TrainingError, match="other numbers than the coefficients"):
        gradients(log_prob, other, [hidden])


def test_a_single_pass_is_for_one_backward_pass():
    hidden, projection, targets, coefficients = problem()
    loss = (predicted(hidden, projection, targets, coefficients=coefficients).log_prob * coefficients).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(TrainingError, match="second backward pass"):
        loss.backward()


def test_in_float32_a_single_pass_accepts_the_rounding_of_a_loss_in_float64():
    hidden, projection, targets, _ = problem(dtype=torch.float32, tokens=300)
    coefficients = torch.rand(300, dtype=torch.float64) ** 9 + 1e-7
    log_prob = predicted(hidden, projection, targets, coefficients=coefficients).log_prob
    assert log_prob.dtype == torch.float32
    expected = predicted(hidden, projection, targets, backend="full-logits").log_prob
    inputs = inputs_of(hidden, projection)
    for got, wanted in zip(gradients(log_prob, coefficients, inputs, 1 / 7), gradients(expected, coefficients, inputs, 1 / 7), strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)


@FAST
def test_bfloat16_products_keep_wide_sums_and_the_dtype_of_the_parameters(backend):
    hidden, projection, targets, coefficients = problem("bias", torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log_prob = predicted(hidden, projection, targets, backend=backend, coefficients=coefficients).log_prob
    exact = predicted(hidden, projection, targets, backend="full-logits").log_prob
    assert log_prob.dtype == torch.float32
    assert (log_prob - exact).abs().max() < 0.1
    for got, wanted in zip(*(gradients(each, coefficients, inputs_of(hidden, projection)) for each in (log_prob, exact)), strict=True):
        assert got.dtype == torch.float32
        assert (got - wanted).norm() / wanted.norm() < 0.02


def test_tokens_whose_weight_became_zero_cost_no_backward_product(monkeypatch):
    hidden, projection, targets, coefficients = problem()
    coefficients[::2] = 0
    rows = []
    from maskkit.loss.projection import Gradients

    add = Gradients.add
    monkeypatch.setattr(Gradients, "add", lambda self, which, *rest: (rows.extend(which.tolist()), add(self, which, *rest)))
    log_prob = predicted(hidden, projection, targets).log_prob
    found = gradients(log_prob, coefficients, [hidden])[0]
    assert rows == [1, 3, 5, 7, 9]
    assert not found[::2].any()


def test_what_a_backend_cannot_do_is_said_before():
    with pytest.raises(UnknownNameError, match="Did you mean 'recompute'"):
        check_backend("recompte")
    with pytest.raises(ConfigError, match="gives no entropy"):
        check_backend("torch", needs={"entropy"})
    with pytest.raises(ConfigError, match="loss modifiers give"):
        check_backend("single-pass", reweighted=True)
    for name in BACKENDS:
        check_backend(name)


def test_a_torch_that_has_no_such_function_is_named(monkeypatch):
    monkeypatch.delattr(F, "linear_cross_entropy")
    with pytest.raises(ConfigError, match=rf"needs torch 2\.13 or newer, this is {torch.__version__[:4]}"):
        check_backend("torch")


@FAST
def test_the_public_function_takes_them_all(backend):
    hidden, projection, targets, _ = problem(tokens=12)
    labels, weights = targets.view(2, 6), torch.rand(2, 6)
    args = (projection.weight, labels, weights)
    expected = linear_weighted_cross_entropy(hidden.view(2, 6, -1), *args, backend="full-logits", normalization="sequences")
    found = linear_weighted_cross_entropy(hidden.view(2, 6, -1), *args, backend=backend, normalization="sequences", chunk=4)
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    assert torch.allclose(*(torch.autograd.grad(loss, hidden)[0] for loss in (found, expected)), atol=1e-12)
