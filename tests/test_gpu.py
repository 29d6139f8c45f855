"""A GPU gives what the CPU gives. Left out where there is none; the laws hold there too: AURIFY_TEST_DEVICE=cuda."""

import pytest
import torch

import test_laws as laws
from aurify.errors import UserError
from aurify.rng import BatchRng, SampleRng
from aurify.spec import Grid

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def on(device, name, spec):
    """The toy model and a batch, the same on every device."""
    model = laws.built(name, spec).to(device)
    x, cond = laws.batch(spec, 8)
    return model, x.to(device), cond.to(device)


@pytest.mark.parametrize(("name", "case"), laws.CASES)
def test_losses_and_gradients_are_those_of_the_cpu(name, case):
    found = []
    for device in ("cpu", "cuda"):
        model, x, cond = on(device, name, laws.SPECS[case])
        for phase in model.phases():
            model.zero_grad()
            loss = model.loss(x, cond, phase.name, BatchRng(1, len(x)))["loss"]
            loss.backward()
            found.append([loss.detach().cpu(), *(p.grad.cpu() for p in phase.params if p.grad is not None)])
    half = len(found) // 2
    for here, there in zip(found[:half], found[half:], strict=True):
        scale = max(float(g.norm()) for g in here[1:]) if len(here) > 1 else 1.0
        torch.testing.assert_close(there[0], here[0], rtol=1e-4, atol=1e-5)
        for a, b in zip(there[1:], here[1:], strict=True):
            assert float((a - b).norm()) <= 1e-3 * float(b.norm()) + 1e-4 * scale


@pytest.mark.parametrize(("name", "case"), laws.CASES)
def test_likelihoods_are_those_of_the_cpu(name, case):
    found = []
    for device in ("cpu", "cuda"):
        model, x, cond = on(device, name, laws.SPECS[case])
        try:
            found.append(model.eval().log_prob(x, cond).detach().cpu().float())
        except UserError as error:
            pytest.skip(str(error))
    estimated = hasattr(model, "importance")  # by draws, which are others there
    torch.testing.assert_close(found[1], found[0], rtol=0.1 if estimated else 1e-3, atol=2.0 if estimated else 1e-2)


@pytest.mark.parametrize(("name", "case"), [c for c in laws.CASES if isinstance(laws.SPECS[c[1]], Grid)])
def test_samples_of_grids_are_nearly_those_of_the_cpu(name, case):
    """Noise is drawn on the CPU, so sample i of a seed is the same picture everywhere."""
    found = []
    for device in ("cpu", "cuda"):
        model, _, cond = on(device, name, laws.SPECS[case])
        cond = laws.batch(laws.SPECS[case], model.chunk)[1].to(device)
        found.append(model.eval().sample(cond, SampleRng(5, range(model.chunk)), model.Options()).cpu())
    torch.testing.assert_close(found[1], found[0], rtol=1e-2, atol=1e-2)
