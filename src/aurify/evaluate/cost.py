"""What a training cost: minutes, arithmetic, energy, and whether the energy was measured or estimated."""

import os
from typing import Any

from aurify.run import Run, read_json

WATTS_PER_CORE = 10.0  # of a busy server or laptop core with its share of memory and supply: an estimate, and called so


def cost(run: Run, step: int) -> dict[str, Any]:
    """Facts for the report: minutes, threads, flops, memory_mib (the peak), energy_wh, and where each comes from; what
    is not known is left out. `step` is the one of the checkpoint that was judged: arithmetic is counted up to it, time
    and energy are those of all training so far."""
    plan, facts = run.card.plan, dict[str, Any]()
    timing = run.path / "timing.json"
    kept = read_json(timing) if timing.is_file() else {}
    seconds = kept.get("seconds") or plan.get("seconds")
    threads = run.training.threads or kept.get("threads") or os.cpu_count() or 1
    facts["threads"] = threads
    if "flops" in plan:
        facts["flops"] = plan["flops"] / run.training.steps * step
        facts["flops_source"] = f"counted in one step and multiplied by {step:,}"
    if "peak_memory" in kept:
        facts["memory_mib"] = round(kept["peak_memory"] / 2**20)
    if not seconds:
        return facts
    facts["minutes"] = seconds / 60
    facts["minutes_source"] = "measured" if "seconds" in kept else "predicted"
    if "joules" in kept:
        facts |= {"energy_wh": kept["joules"] / 3600, "energy_source": "measured by the processor's own counter"}
    else:
        watts = threads * WATTS_PER_CORE
        facts["energy_wh"] = watts * seconds / 3600
        facts["energy_source"] = f"estimated, {WATTS_PER_CORE:g} W for each of {threads} threads"
    if kept.get("gpu"):
        facts["energy_source"] += "; of the processor alone: what the GPU took is not counted"
    return facts
