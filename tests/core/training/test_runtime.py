"""The runtime: what is chosen, why, and that nothing of it outlives the run."""

from __future__ import annotations

import os
from typing import Literal

import pytest
import torch
from torch import nn

from toolkit.config.run_config import RuntimeConfig
from toolkit.errors import ConfigError
from toolkit.training.runtime import Runtime, active, choose_runtime, seed_torch, with_layout

CPU = Runtime(torch.device("cpu"), "float32", channels_last=False, threads=1, deterministic=False)
ABSENT = next(name for name in ("mps", "xpu", "cuda") if not getattr(torch, name).is_available())


@pytest.mark.parametrize("device", [ABSENT, "cpux", "hpu", "fpga", "cuda:99"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_runtime(RuntimeConfig(device=device))
    assert str(caught.value) == f"runtime.device: no device '{device}' on this machine; use auto or cpu"


def test_without_an_accelerator_auto_takes_the_cpu_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    runtime = choose_runtime(RuntimeConfig(precision="float32"))
    assert runtime.device == torch.device("cpu")
    assert runtime.reasons == ("no accelerator here",)


def test_what_is_configured_is_not_second_guessed() -> None:
    config = RuntimeConfig(device="cpu", precision="float32", channels_last=True, compile=True, threads=3, deterministic=True)
    runtime = choose_runtime(config)
    assert runtime == Runtime(torch.device("cpu"), "float32", channels_last=True, threads=3, deterministic=True, compile=True)
    assert runtime.resolved() == config
    assert with_layout(runtime, config, nn.Linear(2, 2)) is runtime
    assert str(runtime) == "device cpu, float32, channels_last on, 3 threads, compiled"


@pytest.mark.parametrize(
    ("avx512", "amx", "precision", "reason"),
    [
        (True, False, "bfloat16", "bfloat16: the CPU has AVX512-BF16 or AMX"),
        (False, True, "bfloat16", "bfloat16: the CPU has AVX512-BF16 or AMX"),
        (False, False, "float32", "float32: the CPU lacks AVX512-BF16 and AMX"),
    ],
)
def test_precision_follows_what_the_cpu_can(monkeypatch: pytest.MonkeyPatch, avx512: bool, amx: bool, precision: str, reason: str) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    runtime = choose_runtime(RuntimeConfig(device="cpu"))
    assert runtime.precision == precision
    assert runtime.reasons == (reason,)
    assert runtime.resolved().precision == precision


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_forward_pass_runs_in_the_chosen_precision(precision: Literal["float32", "bfloat16"], dtype: torch.dtype) -> None:
    runtime = choose_runtime(RuntimeConfig(device="cpu", precision=precision))
    layer = nn.Linear(2, 2)
    with runtime.autocast():
        assert layer(torch.zeros(1, 2)).dtype == dtype
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize(("world", "rank", "expected"), [("2", "1", 2), ("8", "7", 1), ("1", "0", 4)])
def test_processes_share_the_cores(monkeypatch: pytest.MonkeyPatch, world: str, rank: str, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    monkeypatch.setenv("WORLD_SIZE", world)
    monkeypatch.setenv("RANK", rank)
    runtime = choose_runtime(RuntimeConfig(device="cpu"))
    assert (runtime.threads, runtime.world, runtime.rank) == (expected, int(world), int(rank))
    assert runtime.is_main is (rank == "0")


@pytest.mark.parametrize(
    ("model", "expected", "reason"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3)), True, "channels_last on: the model convolves"),
        (nn.Sequential(nn.Linear(2, 2)), False, "channels_last off: the model has no convolution"),
    ],
)
def test_the_layout_follows_the_model(model: nn.Module, expected: bool, reason: str) -> None:
    runtime = with_layout(CPU, RuntimeConfig(), model)
    assert runtime.channels_last is expected
    assert runtime.reasons == (reason,)
    assert with_layout(CPU, RuntimeConfig(channels_last=False), model).channels_last is False


@pytest.mark.parametrize("channels_last", [True, False])
def test_a_model_is_placed_in_the_chosen_layout(channels_last: bool) -> None:
    runtime = with_layout(CPU, RuntimeConfig(), nn.Conv2d(2, 2, 3)) if channels_last else CPU
    model = nn.Conv2d(3, 4, 3)
    assert runtime.place(model) is model
    assert model.weight.is_contiguous(memory_format=torch.channels_last) is channels_last


def test_threads_are_set_for_the_run_alone() -> None:
    before = torch.get_num_threads()
    runtime = Runtime(torch.device("cpu"), "float32", channels_last=False, threads=before + 1, deterministic=True)

    def fail_within() -> None:
        with active(runtime):
            assert torch.get_num_threads() == before + 1
            raise RuntimeError("an error within the run")

    with pytest.raises(RuntimeError, match="an error within the run"):
        fail_within()
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_one_process_shares_with_nobody() -> None:
    total = torch.tensor(3.0)
    assert CPU.sum_over_processes(total) is total
    assert CPU.gather("a") == ["a"]
    assert CPU.any_process(15) == 15
    CPU.barrier()


def test_random_numbers_are_a_pure_function_of_the_seeds_parts() -> None:
    def drawn(*parts: int) -> list[float]:
        seed_torch(*parts)
        return torch.rand(4).tolist()

    first = drawn(0, 1, 2)
    torch.rand(100)
    assert drawn(0, 1, 2) == first
    others = [drawn(*parts) for parts in ((0, 1, 3), (0, 2, 1), (1, 1, 2), (2, 1, 0), (0, 1), (2**32 - 1, 10**6, 10**6, 63))]
    assert len({tuple(numbers) for numbers in [first, *others]}) == 7


@pytest.mark.parametrize(
    ("channels", "dilation", "precision", "chosen"),
    [(20, 2, "bfloat16", False), (20, 1, "bfloat16", True), (32, 2, "bfloat16", True), (20, 2, "float32", True)],
)
def test_channels_last_is_left_out_where_the_cpus_bfloat16_kernel_gives_nan_gradients(
    channels: int, dilation: int, precision: Literal["float32", "bfloat16"], chosen: bool
) -> None:
    config = RuntimeConfig(device="cpu", precision=precision)
    model = nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 8, 3, dilation=dilation))
    runtime = with_layout(choose_runtime(config), config, model)
    assert runtime.channels_last is chosen
    assert ("channels_last off: the CPU's bfloat16 kernel for 1 gives NaN gradients with it" in runtime.reasons) is not chosen
