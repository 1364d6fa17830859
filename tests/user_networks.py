"""Networks as users write them: a zoo of those that must work, and of those that must be refused in one sentence."""

from __future__ import annotations

import functools
import threading
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
import torch.utils.checkpoint
from torch import nn

NUMBERS, ACTIONS = 8, 3
IMAGE = (4, 42, 42)

works: dict[str, type[nn.Module]] = {}
refused: dict[str, tuple[Any, str]] = {}


def working(cls: type[Any]) -> type[Any]:
    """Must train with the gradients of the module itself."""
    works[cls.__name__] = cls
    return cls


def refused_for(reason: str) -> Any:
    """Must be refused, with this in the sentence."""

    def keep(cls: Any) -> Any:
        refused[getattr(cls, "__name__", str(cls))] = (cls, reason)
        return cls

    return keep


class Net(nn.Module):
    """Heads, and what most of these begin with."""

    image = False

    def __init__(self, features: int = 32, body: nn.Module | None = None) -> None:
        super().__init__()
        self.body = nn.Linear(NUMBERS, features) if body is None else body
        self.policy, self.value = nn.Linear(features, ACTIONS), nn.Linear(features, 1)

    def forward(self, observations: Any) -> Any:
        return self.heads(torch.tanh(self.body(observations)))

    def heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.policy(x), self.value(x).squeeze(-1)


class ImageNet(Net):
    image = True

    def forward(self, observations: Any) -> Any:
        return self.heads(self.body(observations / 255.0))


class StateNet(Net):
    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        raise NotImplementedError


# Those that work -----------------------------------------------------------------------------------------------------


@working
class Plain(Net):
    pass


@working
class ValuesOfTwoDimensions(Net):
    def forward(self, observations: Any) -> Any:
        x = self.body(observations)
        return self.policy(x), self.value(x)


@working
class ASequenceWithLayerNorm(Net):
    def __init__(self) -> None:
        layers = [nn.Linear(NUMBERS, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 32), nn.SiLU(), nn.RMSNorm(32)]
        super().__init__(body=nn.Sequential(*layers))


@working
class BatchNormInEval(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.Sequential(nn.Linear(NUMBERS, 32), nn.BatchNorm1d(32).eval()))
        norm = self.body[1]
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)


@working
class DropoutInEval(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.Sequential(nn.Linear(NUMBERS, 32), nn.Dropout(0.5).eval()))


@working
class DropoutOfNothing(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.Sequential(nn.Linear(NUMBERS, 32), nn.Dropout(0.0)))


@working
class GruCell(StateNet):
    state_size = 32

    def __init__(self) -> None:
        super().__init__(body=nn.GRUCell(NUMBERS, 32))

    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        state = self.body(observations, state)
        return (*self.heads(state), state)


@working
class LstmCell(StateNet):
    state_size = 64

    def __init__(self) -> None:
        super().__init__(body=nn.LSTMCell(NUMBERS, 32))

    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        h, c = self.body(observations, tuple(state.chunk(2, 1)))
        return (*self.heads(h), torch.cat((h, c), 1))


@working
class LstmModule(StateNet):
    state_size = 64

    def __init__(self) -> None:
        super().__init__(body=nn.LSTM(NUMBERS, 32, batch_first=True))

    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        before = tuple(x[None].contiguous() for x in state.chunk(2, 1))
        y, (h, c) = self.body(observations[:, None], before)
        return (*self.heads(y[:, 0]), torch.cat((h[0], c[0]), 1))


@working
class GruModule(StateNet):
    state_size = 32

    def __init__(self) -> None:
        super().__init__(body=nn.GRU(NUMBERS, 32))

    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        y, h = self.body(observations[None], state[None])
        return (*self.heads(y[0]), h[0])


@working
class LinearMemory(StateNet):
    """A state that decays, which is no gate of torch's."""

    state_size = 5

    def __init__(self) -> None:
        super().__init__(features=5, body=nn.Linear(NUMBERS, 5))
        self.decay = nn.Parameter(torch.full((5,), 0.8))

    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        state = state * self.decay + torch.tanh(self.body(observations))
        return (*self.heads(state), state)


@working
class BidirectionalLstmOverFields(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.LSTM(2, 16, num_layers=2, bidirectional=True, batch_first=True))

    def forward(self, observations: Any) -> Any:
        return self.heads(self.body(observations.view(-1, 4, 2))[0][:, -1])


@working
class Attention(Net):
    def __init__(self) -> None:
        super().__init__(64, nn.Linear(2, 16))
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, observations: Any) -> Any:
        x = self.body(observations.view(-1, 4, 2))
        return self.heads(self.attention(x, x, x, need_weights=False)[0].flatten(1))


@working
class TransformerLayer(Net):
    def __init__(self) -> None:
        super().__init__(64, nn.Linear(2, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)

    def forward(self, observations: Any) -> Any:
        return self.heads(self.layer(self.body(observations.view(-1, 4, 2))).flatten(1))


@working
class ScaledDotProductAttention(Net):
    def __init__(self) -> None:
        super().__init__(64, nn.Linear(2, 48))

    def forward(self, observations: Any) -> Any:
        q, k, v = self.body(observations.view(-1, 4, 2)).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        return self.heads(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))


@working
class AttentionWithAMask(Net):
    def __init__(self) -> None:
        super().__init__(64, nn.Linear(2, 16))
        self.register_buffer("mask", torch.full((4, 4), float("-inf")).triu(1))

    def forward(self, observations: Any) -> Any:
        x = self.body(observations.view(-1, 4, 2))
        return self.heads(F.scaled_dot_product_attention(x, x, x, attn_mask=self.mask).flatten(1))


@working
class Embedding(Net):
    def __init__(self) -> None:
        super().__init__(128, nn.Embedding(10, 16))

    def forward(self, observations: Any) -> Any:
        return self.heads(self.body(observations.abs().mul(3).long().clamp(max=9)).flatten(1))


@working
class OddConvolutions(ImageNet):
    def __init__(self) -> None:
        layers = [
            nn.Conv2d(4, 8, (3, 5), stride=(1, 2), padding=1),
            nn.ELU(),
            nn.Conv2d(8, 8, 3, groups=8, dilation=2),
            nn.GroupNorm(2, 8),
            nn.LeakyReLU(),
            nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular"),
            nn.AdaptiveAvgPool2d(6),
            nn.Flatten(),
        ]
        super().__init__(288, nn.Sequential(*layers))


@working
class BatchNormOfImagesInEval(ImageNet):
    def __init__(self) -> None:
        norm = nn.BatchNorm2d(4).eval()
        super().__init__(256, nn.Sequential(nn.Conv2d(4, 4, 5, 4), norm, nn.AdaptiveMaxPool2d(8), nn.Flatten()))


@working
class ConvolutionsOfOneDimension(Net):
    def __init__(self) -> None:
        super().__init__(56, nn.Conv1d(1, 8, 3))
        self.back = nn.ConvTranspose1d(8, 4, 4, 2)

    def forward(self, observations: Any) -> Any:
        return self.heads(self.back(F.relu(self.body(observations[:, None]))).flatten(1))


@working
class Interpolation(ImageNet):
    def __init__(self) -> None:
        super().__init__(400, nn.Conv2d(4, 4, 5, 4))

    def forward(self, observations: Any) -> Any:
        x = F.avg_pool2d(self.body(observations.float() / 255), 2)
        return self.heads(F.interpolate(x, scale_factor=2, mode="bilinear").flatten(1))


@working
class ViewAfterAConvolution(ImageNet):
    """Impossible over channels-last memory."""

    def __init__(self) -> None:
        super().__init__(400, nn.Conv2d(4, 4, 5, 4))

    def forward(self, observations: Any) -> Any:
        x = F.relu(self.body(observations.float() / 255))
        return self.heads(x.view(x.size(0), -1))


@working
class FrozenConvolutions(ImageNet):
    def __init__(self) -> None:
        super().__init__(400, nn.Conv2d(4, 4, 5, 4).requires_grad_(False))

    def forward(self, observations: Any) -> Any:
        return self.heads(self.body(observations / 255.0).flatten(1))


@working
class ResidualBlocks(ImageNet):
    def __init__(self) -> None:
        super().__init__(256, nn.Conv2d(4, 4, 5, 5))
        self.blocks = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

    def forward(self, observations: Any) -> Any:
        x = self.body(observations / 255.0)
        for block in self.blocks:
            x = x + block(F.relu(x))
        return self.heads(x.flatten(1))


@working
class PartWithoutGradients(Net):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(NUMBERS, 32)

    def forward(self, observations: Any) -> Any:
        with torch.no_grad():
            y = self.other(observations)
        x = self.body(observations).relu_() + y
        return self.policy(x), self.value(x.detach()).squeeze(-1)


@working
class WeightNorm(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.utils.parametrizations.weight_norm(nn.Linear(NUMBERS, 32)))


@working
class OrthogonalWeights(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.utils.parametrizations.orthogonal(nn.Linear(NUMBERS, NUMBERS)), features=NUMBERS)


@working
class TiedWeights(Net):
    def __init__(self) -> None:
        super().__init__(NUMBERS)
        self.again = nn.Linear(NUMBERS, NUMBERS)
        self.again.weight = self.body.weight

    def forward(self, observations: Any) -> Any:
        return self.heads(torch.tanh(self.again(torch.tanh(self.body(observations)))))


@working
class FrozenAndUnused(Net):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)
        self.body.weight.requires_grad_(False)


@working
class BuffersAndConstants(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.randn(NUMBERS))
        self.register_buffer("count", torch.tensor(3))
        self.scale = torch.randn(NUMBERS)

    def forward(self, observations: Any) -> Any:
        x = (observations - self.mean) * self.scale * torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8]) / self.count
        return self.heads(torch.tanh(self.body(x)))


@working
class InPlace(Net):
    def forward(self, observations: Any) -> Any:
        x = F.relu(self.body(observations), inplace=True) * 1.5
        x += 1
        x[:, :4] = 0
        return self.heads(x)


@working
class Indexing(Net):
    def forward(self, observations: Any) -> Any:
        x = torch.einsum("nf,of->no", observations, self.body.weight)
        x = x.gather(1, x.argsort(1)).cumsum(1)
        x = torch.cat([x[torch.arange(len(x)), 0, None], x[:, 1:]], 1)
        a, b = x.split(16, 1)
        chosen = torch.where(x > 0, x, torch.zeros(()))
        return self.heads(chosen + torch.stack([a, b], 1).flatten(1).sort(1).values)


@working
class DoublePrecisionInside(Net):
    def forward(self, observations: Any) -> Any:
        x = F.linear(observations.double(), self.body.weight.double()).float()
        return self.heads(x)


@working
class LoopOverTheBatch(Net):
    def forward(self, observations: Any) -> Any:
        rows = [torch.tanh(self.body(observations[i])) for i in range(observations.shape[0])]
        return self.heads(torch.stack(rows))


@working
class MixtureOfExperts(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.Linear(NUMBERS, 4))
        self.experts = nn.ModuleList(nn.Linear(NUMBERS, 32) for _ in range(4))

    def forward(self, observations: Any) -> Any:
        weights = self.body(observations).softmax(-1)
        outputs = torch.stack([expert(observations) for expert in self.experts], 1)
        return self.heads((weights[..., None] * outputs).sum(1))


@working
class FourierFeatures(Net):
    def __init__(self) -> None:
        super().__init__(2 * NUMBERS, nn.Linear(NUMBERS, NUMBERS, bias=False))

    def forward(self, observations: Any) -> Any:
        x = self.body(observations)
        return self.heads(torch.cat((x.sin(), x.cos()), -1))


@working
class SpectrumOfTheObservation(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.Linear(NUMBERS // 2 + 1, 32))

    def forward(self, observations: Any) -> Any:
        return self.heads(self.body(torch.fft.rfft(observations).abs()))


@working
class Checkpointed(Net):
    def forward(self, observations: Any) -> Any:
        return self.heads(torch.utils.checkpoint.checkpoint(self.body, observations, use_reentrant=False))


@working
class ForwardHook(Net):
    def __init__(self) -> None:
        super().__init__()
        self.body.register_forward_hook(lambda module, given, found: 2 * found)


@working
class WritesWhereAMaskSays(Net):
    def forward(self, observations: Any) -> Any:
        x = self.body(observations)
        x[observations[:, 0] > 0] = 0
        return self.heads(x)


# Those that are refused ----------------------------------------------------------------------------------------------


@refused_for("its body.1 is a BatchNorm1d, whose statistics workers cannot share")
class BatchNorm(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.Sequential(nn.Linear(NUMBERS, 32), nn.BatchNorm1d(32)))


@refused_for("its body.1 is a Dropout: it would act by one network and learn by another")
class Dropout(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.Sequential(nn.Linear(NUMBERS, 32), nn.Dropout(0.1)))


@refused_for("use torch.where")
class Branch(Net):
    def forward(self, observations: Any) -> Any:
        x = self.body(observations)
        return self.heads(2 * x if self.value.bias.sum() > 0 else x)


@refused_for("takes a number out of a tensor")
class NumberOutOfATensor(Net):
    def forward(self, observations: Any) -> Any:
        return self.heads(self.body(observations) * observations.max().item())


@refused_for("takes a number out of a tensor")
class NumberOutOfAParameter(Net):
    def forward(self, observations: Any) -> Any:
        return self.heads(self.body(observations) * self.value.bias.detach().sum().item())


@refused_for("its forward() of 5 observations failed: RuntimeError: Can't call numpy() on Tensor that requires grad")
class ThroughNumPy(Net):
    def forward(self, observations: Any) -> Any:
        return self.heads(torch.from_numpy(self.body(observations).numpy()))


@refused_for("gives something else the second time")
class Noise(Net):
    def forward(self, observations: Any) -> Any:
        x = self.body(observations)
        return self.heads(x + 0.1 * torch.randn_like(x))


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:  # type: ignore[override]
        return x.sign()

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient * 0.5


@refused_for("uses the torch.autograd.Function Sign, and torch.export keeps no backward() of one")
class StraightThrough(Net):
    def forward(self, observations: Any) -> Any:
        return self.heads(Sign.apply(self.body(observations)))


@refused_for("its forward() changes its buffer")
class SpectralNorm(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.utils.parametrizations.spectral_norm(nn.Linear(NUMBERS, 32)))


@refused_for("gives something else the second time")
class Counter(Net):
    calls = 0

    def forward(self, observations: Any) -> Any:
        self.calls += 1
        return self.heads(self.body(observations) / self.calls)


@refused_for("gives something else the second time")
class HiddenState(Net):
    hidden: Any = None

    def forward(self, observations: Any) -> Any:
        x = torch.tanh(self.body(observations))
        self.hidden = x if self.hidden is None or len(self.hidden) != len(x) else self.hidden * 0.5 + x
        return self.heads(self.hidden)


@refused_for("its parameter body.weight is float64 on cpu, and must be float32 on the CPU")
class Double(Net):
    def __init__(self) -> None:
        super().__init__()
        self.double()


@refused_for("needs torch.autocast")
class Autocast(Net):
    def forward(self, observations: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            x = self.body(observations)
        return self.heads(x.float())


@refused_for("its parameter body.weight has no shape yet")
class Lazy(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.LazyLinear(32))


@refused_for("went through torch.compile")
def compiled() -> Any:
    return torch.compile(Plain())


@refused_for("makes a TopLevelTracedModule")
def scripted() -> Any:
    return torch.jit.trace(Plain(), torch.zeros(2, NUMBERS), check_trace=False)


@refused_for("its outputs are a Categorical, and must be a tensor")
class Distribution(Net):
    def forward(self, observations: Any) -> Any:
        logits, values = super().forward(observations)
        return torch.distributions.Categorical(logits=logits), values


@refused_for("its forward() of 5 observations failed: RuntimeError: mat1 and mat2 shapes cannot be multiplied")
class OtherObservations(Net):
    def __init__(self) -> None:
        super().__init__(body=nn.Linear(NUMBERS + 1, 32))


@refused_for("its outputs of 5 observations are float32 [5, 4], and must be float32 [5, 3]: logits")
class OtherActions(Net):
    def __init__(self) -> None:
        super().__init__()
        self.policy = nn.Linear(32, ACTIONS + 1)


@refused_for("must return (outputs, values), and returns float32 [5, 3]")
class OnlyAPolicy(Net):
    def forward(self, observations: Any) -> Any:
        return super().forward(observations)[0]


@refused_for("must return (outputs, values, state), and returns a tuple of float32 [5, 3], float32 [5]")
class ForgetsItsState(StateNet):
    state_size = 4

    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        return self.heads(self.body(observations))


@refused_for("depends on those beside it")
class MeanOverTheBatch(Net):
    def forward(self, observations: Any) -> Any:
        x = self.body(observations)
        return self.heads(x - x.mean(0))


@refused_for("changes what it is given in place: work on a copy")
class ScalesObservationsInPlace(Net):
    def forward(self, observations: Any) -> Any:
        # Twice the same: the check that calls it twice does not see it.
        return self.heads(self.body(observations.clamp_(-1, 1)))


@refused_for("it has no parameters to train")
class AllFrozen(Net):
    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


@refused_for("no output of its forward() depends on a parameter that is trained")
class Detached(Net):
    def forward(self, observations: Any) -> Any:
        outputs, values = super().forward(observations)
        return outputs.detach(), values.detach()


@refused_for("its parameter body.bias has numbers that are not finite")
class NotFinite(Net):
    def __init__(self) -> None:
        super().__init__()
        nn.init.constant_(self.body.bias, float("nan"))


@refused_for("it must take the observation space and the action space, or nothing, and it takes width")
class TakesSomethingElse(Net):
    def __init__(self, width: int) -> None:
        super().__init__(width)


@refused_for("its forward() changes its attribute calls, which no worker would see")
class CountsItsCalls(Net):
    calls = 0

    def forward(self, observations: Any) -> Any:
        self.calls += 1
        x = self.body(observations)
        return self.heads(x if self.calls < 200 else x * 0)


@refused_for("its forward() changes its attribute seen")
class KeepsAList(Net):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def forward(self, observations: Any) -> Any:
        self.seen.append(len(observations))
        return super().forward(observations)


@refused_for("its forward() changes whether its parameter body.weight is trained")
class FreezesItself(Net):
    def forward(self, observations: Any) -> Any:
        self.body.requires_grad_(False)
        return super().forward(observations)


@refused_for("gives something else where autograd records it")
class AsksForAutograd(Net):
    def forward(self, observations: Any) -> Any:
        x = self.body(observations)
        return self.heads(x if torch.is_grad_enabled() else x * 0 + 7)


@refused_for("its a and c are views of the same memory: use one parameter for both")
class ViewsOfOneMemory(Net):
    def __init__(self) -> None:
        super().__init__()
        both = torch.randn(NUMBERS, NUMBERS)
        self.a, self.c = nn.Parameter(both), nn.Parameter(both.t())

    def forward(self, observations: Any) -> Any:
        return super().forward(observations @ self.a @ self.c)


@refused_for("its outputs are not finite for observations of the environment")
class NotANumber(Net):
    def forward(self, observations: Any) -> Any:
        return super().forward(observations.sqrt())


@refused_for("its buffer eye is torch.float32, torch.sparse_coo on cpu: no worker has it")
class SparseBuffer(Net):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("eye", torch.eye(NUMBERS).to_sparse())


@refused_for("of torch.qint8, which no worker can")
class Quantized(Net):
    def forward(self, observations: Any) -> Any:
        x = torch.quantize_per_tensor(observations, 0.1, 0, torch.qint8).dequantize()
        return super().forward(x)


@refused_for("uses the torch.autograd.Function Checkpoint")
class ReentrantCheckpointing(Net):
    def forward(self, observations: Any) -> Any:
        x = observations + 0 * self.value.bias
        return self.heads(torch.utils.checkpoint.checkpoint(self.body, x, use_reentrant=True))


@refused_for("depends on those beside it: 2 give something else than the same among 6")
class OtherForManyThanForFew(Net):
    def forward(self, observations: Any) -> Any:
        x = self.body(observations)
        return self.heads(x if len(x) != 6 else x * 0)


@refused_for("its forward() makes its parameter late: call it once with observations")
class MakesAParameter(Net):
    def forward(self, observations: Any) -> Any:
        if not hasattr(self, "late"):
            self.late = nn.Parameter(torch.ones(NUMBERS))
        return super().forward(observations * self.late)


@refused_for("makes tensors whose size depends on the numbers in one: use torch.where")
class AsManyAsThereAre(Net):
    def forward(self, observations: Any) -> Any:
        chosen = self.body.bias[self.body.bias > 0]
        return self.heads(self.body(observations) + 0 * chosen.sum())


@refused_for("its forward() uses .data, which no graph can follow: use detach()")
class UsesData(Net):
    def forward(self, observations: Any) -> Any:
        return self.heads(torch.tanh(self.body(observations) * self.value.bias.data))


@refused_for("its forward() of 5 observations failed: SystemExit: 3")
class Leaves(Net):
    def forward(self, observations: Any) -> Any:
        raise SystemExit(3)


@refused_for("it cannot be copied: TypeError: cannot pickle '_thread.lock' object")
class HoldsALock(Net):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@refused_for("its parameter body.weight has a hook on its gradient, which no worker would call")
class HookOnAParameter(Net):
    def __init__(self) -> None:
        super().__init__()
        self.body.weight.register_hook(lambda gradient: 2 * gradient)


@refused_for("its body has a hook on its gradients, which no worker would call")
class HookOnAModule(Net):
    def __init__(self) -> None:
        super().__init__()
        self.body.register_full_backward_hook(lambda module, after, before: None)


@refused_for("to make it failed: ZeroDivisionError: division by zero")
def fails() -> Any:
    return 1 / 0


@refused_for("makes a int, and must make a plain torch.nn.Module")
def nothing() -> Any:
    return 3


@refused_for("its state_size is 2.5, and must be a whole number from 0 to")
class HalfAState(Net):
    state_size = 2.5


# For the command -----------------------------------------------------------------------------------------------------


class Mlp(nn.Module):
    """The `mlp` of a3c_fast as a user would write it."""

    lstm_size = 0

    def __init__(self, observation_space: Any, action_space: Any, *, hidden: int = 64) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(observation_space.shape[0], hidden), nn.Linear(hidden, hidden)
        if self.lstm_size:
            self.lstm = nn.LSTMCell(hidden, self.lstm_size)
        self.policy_head = nn.Linear(self.lstm_size or hidden, action_space.n)
        self.value_head = nn.Linear(self.lstm_size or hidden, 1)

    def forward(self, observations: Any) -> Any:
        x = torch.tanh(self.fc2(torch.tanh(self.fc1(observations))))
        return self.policy_head(x), self.value_head(x).squeeze(-1)


class MlpWithLstm(Mlp):
    lstm_size, state_size = 32, 64

    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        x = torch.tanh(self.fc2(torch.tanh(self.fc1(observations))))
        h, c = self.lstm(x, tuple(state.chunk(2, 1)))
        return self.policy_head(h), self.value_head(h).squeeze(-1), torch.cat((h, c), 1)


class AnyActions(nn.Module):
    """For whatever is observed, and whatever kind of action: outputs as tuples."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        super().__init__()
        self.fc = nn.Linear(observation_space.shape[0], 16)
        self.value = nn.Linear(16, 1)
        if hasattr(action_space, "low"):
            self.mean, self.log_std = nn.Linear(16, *action_space.shape), nn.Parameter(torch.zeros(action_space.shape))
        else:
            sizes = getattr(action_space, "nvec", [getattr(action_space, "n", 0)])
            self.choices = nn.ModuleList(nn.Linear(16, int(size)) for size in sizes)

    def forward(self, observations: Any) -> Any:
        x = torch.tanh(self.fc(observations))
        outputs = (self.mean(x), self.log_std) if hasattr(self, "mean") else tuple(head(x) for head in self.choices)
        return outputs, self.value(x)


class GruOfAnyActions(AnyActions):
    """The same with a memory."""

    state_size = 16

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        super().__init__(observation_space, action_space)
        self.gru = nn.GRUCell(observation_space.shape[0], 16)

    def forward(self, observations: Any, state: Any) -> Any:  # type: ignore[override]
        state = self.gru(observations, state)
        outputs = (self.mean(state), self.log_std) if hasattr(self, "mean") else [h(state) for h in self.choices]
        return outputs, self.value(state), state


class Measured(nn.Module):
    """Takes what is measured of its observations."""

    def __init__(
        self, observation_space: Any, action_space: Any, observation_offset: float, observation_scale: float
    ) -> None:
        super().__init__()
        self.offset, self.scale = observation_offset, observation_scale
        self.conv = nn.Conv2d(observation_space.shape[0], 4, 8, 8)
        self.policy, self.value = nn.Linear(400, int(action_space.n)), nn.Linear(400, 1)

    def forward(self, observations: Any) -> Any:
        x = torch.relu(self.conv((observations / 255 - self.offset) * self.scale)).flatten(1)
        return self.policy(x), self.value(x)


small_mlp = functools.partial(Mlp, hidden=8)
not_callable = 3
