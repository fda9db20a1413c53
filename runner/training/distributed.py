"""Several processes train one trial: each embeds a share of every batch, and the loss is that of the whole batch.

torchrun starts them (RANK, WORLD_SIZE, LOCAL_RANK), with gloo on CPUs and nccl on GPUs:

    torchrun --nproc-per-node 2 -m runner.cli train recipe.toml --out model

Every rank knows the whole batch, for ids are memory-mapped and the stream of batches can be sought; only vectors,
gradients and a few counts travel. A step gathers the vectors once and adds up the gradients once, however many
micro-batches it has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from runner.training.device import device_of
from sweeps.store.retry import out_of_memory

PATIENCE = timedelta(days=1)  # one rank may tokenise for hours while the others wait
BUCKET = 2**24  # numbers that travel together: enough to fill a link, little beside a model
FAILED = "failed"
# Modules of torch with the group of their import as a default argument. Imported while there is one, they keep it, and
# its threads, still at work as Python ends, abort the process.
BOUND_TO_A_GROUP = ("torch.distributed.nn.functional", "torch.distributed.fsdp.sharded_grad_scaler")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ranks:
    """The processes that train one trial, seen from one of them. This is a single one: nothing is exchanged."""

    rank: int = 0
    """Which of the processes this is, from 0. Rank 0 alone writes files and prints."""
    count: int = 1
    """Processes that train together, at least 1 (torchrun's WORLD_SIZE)."""
    sharded: bool = False
    """Whether each rank keeps only its part of the model, the gradients and the optimiser's state; see fsdp.py."""

    def share(self, cuts: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Returns what this rank embeds of each micro-batch, and the row of each text among the gathered vectors.

        Texts are dealt like cards, longest first, so that all ranks have as many and nearly as long ones.
        cuts: the micro-batches that `micro_batches` made for so many ranks.
        """
        dealt = [[cut[rank :: self.count] for cut in cuts] for rank in range(self.count)]
        gathered = np.concatenate([texts for share in dealt for texts in share])
        rows = np.empty(gathered.max() + 1, dtype=np.int64)
        rows[gathered] = np.arange(len(gathered))
        return dealt[self.rank], rows

    def gather(self, vectors: Tensor) -> Tensor:
        """vectors: this rank's [texts, dim], as many on each -> [ranks x texts, dim], without a graph."""
        return vectors

    def own(self, gradient: Tensor) -> Tensor:
        """Returns the rows of `gradient`, that of what `gather` gave, that belong to this rank's vectors."""
        return gradient.chunk(self.count)[self.rank]

    def all_reduce_sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks, in place."""

    def sum_counts(self, numbers: Sequence[int]) -> list[int]:
        """Returns the sum of each number over the ranks."""
        return list(numbers)

    def min_counts(self, numbers: Sequence[int]) -> list[int]:
        """Returns the minimum of each number over the ranks."""
        return list(numbers)

    def wait(self) -> None:
        """Wait until all ranks have come here (a barrier)."""
        self.sum_counts([0])

    def broadcast_from_zero(self, answer: bool) -> bool:
        """Returns the answer of rank 0 on all ranks: what depends on a clock or a file differs between processes."""
        return answer

    def run_on_zero_first(self, work: Callable[[], Result]) -> Result:
        """Every rank does `work`, the others when rank 0 has finished: what that leaves in a cache is made once."""
        return work()

    def must_agree(self, facts: Mapping[str, int]) -> None:
        """Raises ValueError when a fact (a number of 63 bits, by its name) is not the same on all ranks."""

    @contextmanager
    def synchronise_oom(self) -> Iterator[None]:
        """When the body runs out of memory on one rank, an error is raised on all, so that they go on alike."""
        yield


ALONE = Ranks()


@dataclass(frozen=True)
class DistributedRanks(Ranks):
    """Two ranks or more, which have joined a process group. Counts travel from CPU to CPU.

    Raises ConnectionError when another rank has ended.
    """

    def gather(self, vectors: Tensor) -> Tensor:
        every = vectors.new_empty(self.count * len(vectors), *vectors.shape[1:])
        with _others():
            dist.all_gather(list(every.chunk(self.count)), vectors.contiguous())
        return every

    def all_reduce_sum_(self, tensors: Sequence[Tensor]) -> None:
        for bucket in buckets(tensors):
            flat = torch.cat([tensor.flatten() for tensor in bucket])
            with _others():
                dist.all_reduce(flat)
            for tensor, summed in zip(bucket, flat.split([each.numel() for each in bucket]), strict=True):
                tensor.copy_(summed.view_as(tensor))

    def sum_counts(self, numbers: Sequence[int]) -> list[int]:
        return self._reduced(numbers, dist.ReduceOp.SUM)

    def min_counts(self, numbers: Sequence[int]) -> list[int]:
        return self._reduced(numbers, dist.ReduceOp.MIN)

    def broadcast_from_zero(self, answer: bool) -> bool:
        answers = torch.tensor([answer])
        with _others():
            dist.broadcast(answers, src=0)
        return bool(answers)

    def run_on_zero_first(self, work: Callable[[], Result]) -> Result:
        if self.rank == 0:
            result = work()
            self.wait()
            return result
        self.wait()
        return work()

    def must_agree(self, facts: Mapping[str, int]) -> None:
        numbers = list(facts.values())
        minima = self.min_counts(numbers)
        maxima = [-number for number in self.min_counts([-number for number in numbers])]
        if unlike := [name for name, least, most in zip(facts, minima, maxima, strict=True) if least != most]:
            raise ValueError(f"ranks differ in their {', '.join(unlike)}; give all the same files and versions")

    @contextmanager
    def synchronise_oom(self) -> Iterator[None]:
        reason = ""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            reason = str(error).partition("\n")[0] or "out of memory"
        # Outside the handler, for the error holds on to every tensor of the step.
        if reason and self.sharded:
            # The others wait for this rank's part of a block, and would take anything else for it.
            raise MemoryError(
                f"sharded processes cannot recover from this: {reason}; give a smaller micro_tokens, or recompute"
            )
        if not self.sharded and self.sum_counts([bool(reason)])[0]:
            raise torch.OutOfMemoryError(reason or "another rank is out of memory")

    def _reduced(self, numbers: Sequence[int], how: dist.ReduceOp.RedOpType) -> list[int]:
        reduced = torch.tensor(numbers, dtype=torch.int64)
        with _others():
            dist.all_reduce(reduced, how)
        return reduced.tolist()


def buckets(tensors: Sequence[Tensor], elements: int = BUCKET) -> Iterator[list[Tensor]]:
    """Yields runs of tensors of one type, each of at most `elements` numbers unless one tensor alone has more."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        full = sum(other.numel() for other in bucket) + tensor.numel() > elements
        if bucket and (full or bucket[0].dtype != tensor.dtype):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def fingerprint(module: torch.nn.Module) -> int:
    """Returns a sum over the bits of all parameters: the same for the same numbers on every machine."""
    values = [value.detach().flatten() for value in module.parameters() if value.is_floating_point()]
    return sum(int(value.view(torch.int16).sum(dtype=torch.int64)) for value in values)


@contextmanager
def joined(on: str | None = None, sharded: bool = False) -> Iterator[Ranks]:
    """Join the ranks that torchrun has started, this process being one of them; yields ALONE when it has not.

    on: one of runner.training.device.DEVICES, by default GPUs where there are any. Whatever ends one rank ends all,
    and only the first says why. Raises ValueError when the environment is not that of torchrun, for a device that is
    not here, or when there are fewer GPUs than ranks.
    """
    count = world_size()
    if count == 1:
        if sharded:
            raise ValueError("sharded is True with one process; a model is sharded over several, which torchrun starts")
        yield ALONE
        return
    ranks, backend = DistributedRanks(_variable("RANK"), count, sharded), _backend(on)
    for name in BOUND_TO_A_GROUP:
        import_module(name)
    store = next(iter(dist.rendezvous("env://", ranks.rank, count)))[0]
    group = {"store": dist.PrefixStore("group", store), "rank": ranks.rank, "world_size": count}
    dist.init_process_group(backend, timeout=PATIENCE, **group)
    try:
        with nullcontext() if ranks.rank == 0 else _silent():
            yield ranks
            ranks.wait()  # torchrun stops the others when one has ended badly, so rank 0 finishes writing first
    except BaseException as error:
        first = _is_first(store, ranks.rank)
        if isinstance(error, Exception):  # else an exchange may be under way, and its end waited for
            dist.destroy_process_group()
        if not first:
            raise SystemExit(2) from None
        raise
    dist.destroy_process_group()


def world_size() -> int:
    """Returns how many processes torchrun has started; 1 when it started none."""
    return _variable("WORLD_SIZE", 1)


def _variable(name: str, default: int | None = None) -> int:
    value = os.environ.get(name, default)
    if value is None:
        raise ValueError(f"WORLD_SIZE is {os.environ['WORLD_SIZE']} but {name} is not set; start with torchrun")
    if not str(value).isdecimal():
        raise ValueError(f"{name} is {value!r}, not a number; start with torchrun")
    return int(value)


def _backend(on: str | None) -> str:
    """Returns the backend that moves tensors between ranks. On GPUs, this rank's GPU is made the current one."""
    if device_of(on).type == "cpu":
        return "gloo"
    local = _variable("LOCAL_RANK")
    if local >= torch.cuda.device_count():
        raise ValueError(f"LOCAL_RANK is {local}; this machine has {torch.cuda.device_count()} GPUs, one for each rank")
    torch.cuda.set_device(local)
    return "cpu:gloo,cuda:nccl"


@contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


@contextmanager
def _others() -> Iterator[None]:
    """Around what needs the other ranks: turns torch's error into one that says that they are lost."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError("lost the other processes: one has ended") from error


def _is_first(store: dist.Store, rank: int) -> bool:
    """Returns whether this rank is the first to fail, so that it is the one to say why."""
    try:
        return store.compare_set(FAILED, "", str(rank)) == str(rank).encode()
    except RuntimeError:  # the store went with the rank that kept it
        return True
