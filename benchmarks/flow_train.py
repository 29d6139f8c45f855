"""Training pictures a second against diffusers' U-Net and its training loop, at equal FLOPs a picture.

python benchmarks/flow_train.py [--threads 2] [--device cpu]

Ours is `flow` on 28 x 28 grey pictures with averaged weights, once with AdamW as the peer has it and once with Muon,
its default; the peer is UNet2DModel with DDPMScheduler noise, AdamW and EMAModel, as in diffusers' own unconditional
example. Our width is the one whose forward FLOPs come nearest to the peer's; the ratio is of pictures a second times
the FLOPs a picture. Rows say the precision of ours and of the peer: its example trains in float32 unless told
otherwise, ours in bfloat16 where the processor has it and the plan finds it faster.
"""

import argparse
import json
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from torch.utils.flop_counter import FlopCounterMode

from aurify.cond import Cond, CondSpec
from aurify.device import Precision, arithmetic
from aurify.families.flow import Config, Flow
from aurify.rng import BatchRng
from aurify.spec import Grid
from timing import CPU, compare, precisions

SPEC, BATCH = Grid(1, (28, 28)), 64


def peer_step(
    widths: tuple[int, ...], precision: Precision, target: torch.device = CPU
) -> tuple[UNet2DModel, Callable[[], None]]:
    down, up = ("DownBlock2D",) * len(widths), ("UpBlock2D",) * len(widths)
    net = UNet2DModel(
        sample_size=28, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=widths,
        down_block_types=down, up_block_types=up, norm_num_groups=8,
    ).to(target)  # fmt: skip
    noise, average = DDPMScheduler(num_train_timesteps=1000), EMAModel(net.parameters())
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    x = torch.rand(BATCH, 1, 28, 28, device=target) * 2 - 1

    def step() -> None:
        e, t = torch.randn_like(x), torch.randint(0, 1000, (BATCH,), device=target)
        with arithmetic(x.device, precision):
            loss = F.mse_loss(net(noise.add_noise(x, e, t), t).sample, e)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(net.parameters())

    return net, step


def our_step(
    width: int, optimizer: Literal["adamw", "muon"], precision: Precision, target: torch.device = CPU
) -> tuple[Flow, Callable[[], None]]:
    family = Flow(SPEC, CondSpec(), Config(width=width, multiples=(1, 2), patch=2, optimizer=optimizer)).to(target)
    (phase,) = family.phases()
    stepper = phase.optimizer(phase.params)
    average = [p.detach().clone() for p in phase.params]
    x = SPEC.like(BatchRng(0, BATCH)).to(target)

    def step() -> None:
        with arithmetic(x.device, precision):
            loss = family.loss(x, Cond(), "flow", BatchRng(0, BATCH))["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(phase.params, 1.0)
        stepper.step()
        stepper.zero_grad()
        torch._foreach_lerp_(average, [p.detach() for p in phase.params], 0.01)

    return family, step


def forward_flops(net: torch.nn.Module) -> int:
    x, t = torch.zeros(1, 1, 28, 28), torch.zeros(1)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x, t, None) if not isinstance(net, UNet2DModel) else net(x, t)
    return counter.get_total_flops()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--device", type=torch.device, default="cpu")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    for widths in ((16, 32, 64), (32, 64, 64)):
        flops = forward_flops(peer_step(widths, "float32")[0])
        width = min(range(8, 129, 8), key=lambda w: abs(forward_flops(our_step(w, "adamw", "float32")[0].net) - flops))
        for optimizer in ("adamw", "muon"):
            for precision in precisions(asked.device):
                mine = forward_flops(our_step(width, optimizer, "float32")[0].net)
                ours = our_step(width, optimizer, precision[0], asked.device)[1]
                peer = peer_step(widths, precision[1], asked.device)[1]
                result = compare(ours, peer, threads=asked.threads, rounds=5)
                rates = {"ours_pictures_per_s": BATCH / result.ours, "peer_pictures_per_s": BATCH / result.peer}
                equal = {"ratio_at_equal_flops": result.ratio * mine / flops, "mflops": [mine / 1e6, flops / 1e6]}
                size = {"peer_widths": widths, "width": width, "optimizer": optimizer, "precision": precision}
                print(json.dumps(size | rates | equal | result.json()), flush=True)


if __name__ == "__main__":
    main()
