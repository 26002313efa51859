"""Where the arithmetic runs: device, precision, memory layout, threads and the processes that share the work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from toolkit.config.run_config import RuntimeConfig
from toolkit.cores import usable_cores
from toolkit.errors import ConfigError
from toolkit.training.memory import keep_freed_memory

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """Every choice made, none left automatic.

    rank, world: this process's number and how many there are.
    reasons: why each automatic choice fell as it did, for the log.
    """

    device: torch.device
    precision: str
    channels_last: bool
    threads: int
    deterministic: bool
    rank: int = 0
    world: int = 1
    compile: bool = False
    reasons: tuple[str, ...] = ()

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """The context for forward passes: weights stay float32, bfloat16 is used inside where it was chosen."""
        if self.precision == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device in the chosen memory layout."""
        model.to(self.device)
        if self.channels_last:
            model.to(memory_format=torch.channels_last)
        return model

    def sum_over_processes(self, tensor: Tensor) -> Tensor:
        """The tensor added up over all processes; the same tensor where there is one."""
        if self.world > 1:
            tensor = tensor.to(self.device)  # a process without any sample has its zeros on the host
            dist.all_reduce(tensor)
        return tensor

    def gather(self, value: T) -> list[T]:
        """What every process holds, in order of rank; for once-per-evaluation values, since it copies through the host."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def share(self, tensors: Iterable[Tensor]) -> None:
        """Make the tensors everywhere what they are in the main process."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, 0)

    def any_process(self, flag: int) -> int:
        """The largest `flag` of all processes, so that all of them act on the same step."""
        if self.world == 1:
            return flag
        agreed = torch.tensor(flag, device=self.device if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(agreed, dist.ReduceOp.MAX)
        return int(agreed)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world > 1:
            dist.barrier()

    def resolved(self) -> RuntimeConfig:
        """The choices as they are written into the run's config.yaml."""
        return RuntimeConfig(
            device=str(self.device),
            precision="bfloat16" if self.precision == "bfloat16" else "float32",
            channels_last=self.channels_last,
            compile=self.compile,
            threads=self.threads,
            deterministic=self.deterministic,
        )

    def __str__(self) -> str:
        text = f"device {self.device}, {self.precision}, channels_last {'on' if self.channels_last else 'off'}, {self.threads} threads"
        if self.compile:
            text += ", compiled"
        if self.world > 1:
            text += f", process {self.rank} of {self.world}"
        return text + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


def choose_runtime(config: RuntimeConfig) -> Runtime:
    """Decide what is automatic, except the memory layout, which depends on the model (`with_layout`).

    Raises: ConfigError if the named device is not here.
    """
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    device, reasons = _choose_device(config)
    precision = config.precision
    if precision == "auto":
        fast, reason = _bfloat16_is_fast(device)
        precision = "bfloat16" if fast else "float32"
        reasons.append(f"{precision}: {reason}")
    threads = config.threads if config.threads != "auto" else max(1, usable_cores() // world)
    return Runtime(
        device,
        precision,
        channels_last=config.channels_last is True,
        threads=threads,
        deterministic=config.deterministic,
        rank=rank,
        world=world,
        compile=config.compile is True,
        reasons=tuple(reasons),
    )


def with_layout(runtime: Runtime, config: RuntimeConfig, model: nn.Module) -> Runtime:
    """The runtime with its memory layout decided: channels_last for networks that convolve, unless the CPU would get them wrong."""
    if config.channels_last != "auto":
        return runtime
    convolutions = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    broken = next((name for name, module in convolutions.items() if _fails_in_channels_last(module, runtime)), None)
    if broken is not None:
        reason = f"channels_last off: the CPU's bfloat16 kernel for {broken} gives NaN gradients with it"
    else:
        reason = f"channels_last {'on: the model convolves' if convolutions else 'off: the model has no convolution'}"
    return replace(runtime, channels_last=bool(convolutions) and broken is None, reasons=(*runtime.reasons, reason))


def _fails_in_channels_last(module: nn.Conv2d, runtime: Runtime) -> bool:
    """Measured with torch 2.15 (oneDNN, AVX512-BF16): a dilated convolution of more than 16 input channels, and not a multiple of 16,
    reads memory nobody wrote when it computes its weight gradient."""
    if runtime.device.type != "cpu" or runtime.precision != "bfloat16":
        return False
    return max(module.dilation) > 1 and module.in_channels > 16 and module.in_channels % 16 != 0


@contextmanager
def active(runtime: Runtime) -> Iterator[None]:
    """Set threads and determinism, join the other processes, and undo it all afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(runtime.threads)
    if runtime.device.type == "cpu":
        keep_freed_memory()
    if runtime.deterministic and runtime.device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    joined = runtime.world > 1 and not dist.is_initialized()
    if joined:
        dist.init_process_group("nccl" if runtime.device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        if joined:
            dist.destroy_process_group()
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def seed_torch(*parts: int) -> None:
    """Make torch's generators a pure function of `parts`, such as (seed, epoch, position); dropout draws from them."""
    seed = int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
    if _has_accelerator():
        torch.manual_seed(seed)
    else:  # torch.manual_seed would also note the call for CUDA devices to come, each time with a traceback: 0.9 ms
        torch.default_generator.manual_seed(seed)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


def _choose_device(config: RuntimeConfig) -> tuple[torch.device, list[str]]:
    if config.device == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        name = accelerator.type if accelerator is not None else "cpu"
        reasons = [] if accelerator is not None else ["no accelerator here"]
    else:
        name, reasons = config.device, []
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # ImportError: a kind of device whose module is not installed
        raise ConfigError(f"runtime.device: no device '{name}' on this machine; use auto or cpu") from error
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", device.index or 0)))
        torch.cuda.set_device(device)
    return device, reasons


def _bfloat16_is_fast(device: torch.device) -> tuple[bool, str]:
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return fast, "the GPU has it" if fast else "the GPU lacks bfloat16"
    if device.type != "cpu":
        return False, f"not tried on {device.type}"
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return fast, "the CPU has AVX512-BF16 or AMX" if fast else "the CPU lacks AVX512-BF16 and AMX"
