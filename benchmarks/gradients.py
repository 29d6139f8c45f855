"""How far the gradients of each precision, eager and compiled, are from float32 eager, where the plan compares them.

python benchmarks/gradients.py DATA FAMILY [--compiled] [--sizes 3] [--seeds 3] [--set key=value ...]
"""

import argparse
from pathlib import Path

from aurify import device, family
from aurify.bench import benched, short
from aurify.data.store import open_or_build
from aurify.modes import disagreement, gradients
from aurify.settings import parse


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("data")
    arguments.add_argument("family")
    arguments.add_argument("--compiled", action="store_true")
    arguments.add_argument("--sizes", type=int, default=3)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--set", action="append", default=[])
    asked = arguments.parse_args()
    settings = {"family": parse(asked.set), "training": {}}
    store, kind = open_or_build(asked.data), family.load(asked.family)
    with benched(kind, store, settings, device.choose(), Path()) as bench:
        for preset in bench.presets()[: asked.sizes]:
            for precision in ("bfloat16", "float32")[: 1 + asked.compiled]:
                found = []
                for seed in range(asked.seeds):
                    plain, other = bench.loop(preset, seed=seed), bench.loop(preset, seed=seed, precision=precision)
                    if asked.compiled:
                        device.compile_networks(other.state.family)
                    found.append(disagreement(gradients(plain), gradients(other)))
                errors = ", ".join(f"{error:.2g}" for error in found)
                print(
                    f"{short(preset.config)}: {precision} {'compiled' if asked.compiled else 'eager'} {errors}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
