"""Checkpoints: exact to the bit, damage seen, old ones thinned. What cuts a save short is in test_disk_faults.py."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aurify import checkpoint
from aurify.checkpoint import Damaged, newest, thin
from aurify.errors import UserError
from disk_faults import is_whole, no_leftovers, save, step_of

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16,
          torch.int8, torch.uint8, torch.bool, torch.float8_e4m3fn]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (3, 4, 5)], ids=str)
def test_every_bit_of_every_type_comes_back(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    size = torch.empty((), dtype=dtype).element_size()
    high = 2 if dtype == torch.bool else 256
    raw = torch.randint(0, high, (*shape, size), dtype=torch.uint8)  # NaN patterns and infinities among them
    tensor = raw.view(dtype).reshape(shape)
    checkpoint.save(tmp_path, 1, {"model": {"x": tensor}}, {})
    found = newest(tmp_path)[0]
    assert found
    back = found.tensors["model"]["x"]
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(back.contiguous().reshape(-1).view(torch.uint8), tensor.reshape(-1).view(torch.uint8))


def test_tied_transposed_and_cut_out_tensors_come_back(tmp_path: Path) -> None:
    w = torch.randn(6, 4)
    group = {"embed": w, "head": w, "turned": w.t(), "row": w[2], "every_other": w[::2]}
    checkpoint.save(tmp_path, 1, {"model": group, "empty": {}}, {})
    found = newest(tmp_path)[0]
    assert found
    assert found.tensors["empty"] == {}
    assert found.tensors["model"].keys() == group.keys()
    assert all(torch.equal(found.tensors["model"][name], tensor) for name, tensor in group.items())


def test_state_comes_back_and_must_be_strict_json(tmp_path: Path) -> None:
    state = {
        "text": "aurum 金 \u2028 \x00",
        "big": 2**63 + 1,
        "tiny": 5e-324,
        "third": 1 / 3,
        "list": [None, True, [{}]],
    }
    checkpoint.save(tmp_path, 1, {}, state)
    found = newest(tmp_path)[0]
    assert found and found.state == state
    with pytest.raises(ValueError, match="JSON"):
        checkpoint.save(tmp_path, 2, {}, {"loss": float("nan")})
    found = newest(tmp_path)[0]
    assert found and found.step == 1 and no_leftovers(tmp_path)


def test_only_the_groups_asked_for_are_read(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / "optimizer.safetensors").write_bytes(b"spoilt")
    found, damaged = newest(tmp_path, only=("model", "ema"))
    assert found and found.tensors.keys() == {"model"} and not damaged
    with pytest.raises(Damaged, match="optimizer"):
        newest(tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Path]:
    """A folder with checkpoints of steps 1 and 2."""
    save(tmp_path, 1)
    save(tmp_path, 2)
    yield tmp_path
    assert no_leftovers(tmp_path)


def test_a_thousand_flipped_bytes_are_all_seen_and_the_checkpoint_before_is_taken(two: Path) -> None:
    rng = random.Random(0)
    files = {p: p.read_bytes() for p in sorted((two / "step-00000002").iterdir())}
    places = [(p, i) for p, data in files.items() for i in range(len(data))]
    for path, i in rng.sample(places, 1000):
        data = bytearray(files[path])
        data[i] ^= rng.randrange(1, 256)
        path.write_bytes(data)
        found, damaged = newest(two)
        assert found and found.step == 1 and is_whole(found), f"byte {i} of {path.name}"
        assert [d.path.name for d in damaged] == ["step-00000002"]
        path.write_bytes(files[path])
    assert step_of(two) == 2


def test_every_byte_of_the_manifest_counts(two: Path) -> None:
    path = two / "step-00000002" / "MANIFEST.json"
    whole = path.read_bytes()
    for i in range(len(whole)):
        data = bytearray(whole)
        data[i] ^= 1 << i % 8
        path.write_bytes(data)
        with pytest.raises(Damaged):
            checkpoint.load(path.parent)


@pytest.mark.parametrize("change", ["cut", "longer", "empty", "gone", "folder", "swapped"])
def test_a_file_that_is_cut_short_longer_empty_gone_or_another_one_is_seen(two: Path, change: str) -> None:
    for path in sorted((two / "step-00000002").iterdir()):
        whole = path.read_bytes()
        for size in {"cut": range(0, len(whole), 7), "longer": [len(whole)]}.get(change, [0]):
            path.unlink()
            match change:
                case "folder":
                    path.mkdir()
                case "swapped":
                    path.write_bytes((two / "step-00000001" / path.name).read_bytes())
                case "cut" | "longer" | "empty":
                    path.write_bytes(whole[:size] + b"\0" * (change == "longer"))
            found, damaged = newest(two)
            assert found and found.step == 1 and len(damaged) == 1, f"{change} {path.name} {size}"
            path.rmdir() if change == "folder" else path.unlink(missing_ok=True)
            path.write_bytes(whole)


def test_a_damaged_checkpoint_says_so_and_is_never_taken_for_none(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, []) and newest(tmp_path / "nowhere") == (None, [])
    for step in (1, 2):
        (save(tmp_path, step) / "state.json").write_bytes(b"{}")
    with pytest.raises(Damaged, match=r"none of its 2 checkpoints is whole; .*state\.json has 2 bytes, not"):
        newest(tmp_path)
    shutil.rmtree(tmp_path / "step-00000001")
    with pytest.raises(UserError, match=r"step-00000002 is damaged \(state\.json has 2 bytes.* delete it"):
        newest(tmp_path)


def test_a_checkpoint_of_a_newer_format_is_refused_not_passed_over(two: Path) -> None:
    body = json.loads((two / "step-00000002" / "MANIFEST.json").read_bytes())
    body = {k: v for k, v in body.items() if k != "self"} | {"version": 2}
    (two / "step-00000002" / "MANIFEST.json").write_bytes(checkpoint._seal(body))
    with pytest.raises(UserError, match="of format 2, this aurify reads format 1; use the version") as raised:
        newest(two)
    assert not isinstance(raised.value, Damaged)


def test_a_manifest_cannot_point_out_of_its_folder(two: Path) -> None:
    secret = two / "secret.safetensors"
    secret.write_bytes((two / "step-00000002" / "model.safetensors").read_bytes())
    path = two / "step-00000002" / "MANIFEST.json"
    body = {k: v for k, v in json.loads(path.read_bytes()).items() if k != "self"}
    body["files"]["../secret.safetensors"] = body["files"]["model.safetensors"]
    path.write_bytes(checkpoint._seal(body))
    with pytest.raises(Damaged, match="never valid"):
        checkpoint.load(path.parent)
    secret.unlink()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["files", "step", "version"]), inner),
)


@settings(max_examples=50)
@given(body=st.dictionaries(st.sampled_from(["files", "step", "version", "x"]), JSON | st.just(1)), raw=st.binary())
def test_any_manifest_at_all_gives_a_clear_refusal(
    tmp_path_factory: pytest.TempPathFactory, body: dict[str, Any], raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("any")
    for data in (raw, checkpoint._seal(body), json.dumps(body).encode(), b"[" * 100_000, b"1" * 5000):
        (path / "MANIFEST.json").write_bytes(data)
        with pytest.raises(UserError):
            checkpoint.load(path)
    shutil.rmtree(path)


def test_the_last_two_and_three_older_ones_stay(tmp_path: Path) -> None:
    for step in range(10, 810, 10):
        save(tmp_path, step)
        removed = thin(tmp_path)
        left = sorted(int(p.name[5:]) for p in checkpoint.found(tmp_path))
        assert len(left) == min(step // 10, 5) or len(left) in (3, 4, 5)
        assert left[-2:] == [s for s in (step - 10, step) if s]
        assert not any(p.exists() for p in removed) and no_leftovers(tmp_path)
        if step >= 200:
            assert min(left) <= 0.5 * step, "one of the first half stays"
            assert any(0.4 * step <= s <= 0.9 * step for s in left), "and one of the second"


def test_nothing_is_removed_unless_the_newest_is_whole(tmp_path: Path) -> None:
    path = [save(tmp_path, step) for step in range(1, 9)][-1]
    (path / "model.safetensors").write_bytes(b"spoilt")
    there = checkpoint.found(tmp_path)
    with pytest.raises(Damaged):
        thin(tmp_path)
    assert checkpoint.found(tmp_path) == there
