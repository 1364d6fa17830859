"""Networks worth having beside the built-in ones, written as a user would: torch modules, and nothing of a3c_fast.

    a3c-fast train --env-id Pong-v5 --network a3c_fast.networks:Impala

Each takes the observation space and the action space. What its forward() is given and must return is in
docs/networks.md.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

if TYPE_CHECKING:
    import gymnasium

Outputs = torch.Tensor | tuple[torch.Tensor, ...]

__all__ = ["FrameTransformer", "Gru", "Heads", "ImageAndVector", "Impala"]


class Heads(nn.Module):
    """The policy's outputs and the value, of features [N, F], for any kind of action.

    The last layers begin small, as is usual: a policy of nearly equal probabilities, and values near 0.
    """

    def __init__(self, features: int, action_space: gymnasium.Space[Any]) -> None:
        super().__init__()
        self.sizes, continuous = _outputs_of(action_space)
        self.policy = _linear(features, sum(self.sizes), gain=0.01)
        self.value = _linear(features, 1, gain=1.0)
        self.log_std = nn.Parameter(torch.full((sum(self.sizes),), -0.5)) if continuous else None

    def forward(self, features: torch.Tensor) -> tuple[Outputs, torch.Tensor]:
        """-> outputs, values [N]. Outputs are the logits of all choices, or a Gaussian's means and log sigmas."""
        outputs = self.policy(features)
        values = self.value(features).squeeze(-1)
        return (outputs if self.log_std is None else (outputs, self.log_std)), values


class Impala(nn.Module):
    """The residual network of IMPALA, Espeholt et al. 2018, figure 3, over images of any size.

    Three blocks of a convolution, a maximum over 3x3 of stride 2, and two residual pairs of convolutions; then a fully
    connected layer of 256. Some 20 times the arithmetic of `paper`.
    """

    def __init__(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], *, width: int = 1
    ) -> None:
        super().__init__()
        channels, height, by = _image_of(observation_space)
        self.blocks = nn.ModuleList()
        for out in (16 * width, 32 * width, 32 * width):
            self.blocks.append(_ImpalaBlock(channels, out))
            channels, height, by = out, (height + 1) // 2, (by + 1) // 2
        self.fc = _linear(channels * height * by, 256)
        self.heads = Heads(256, action_space)

    def forward(self, observations: torch.Tensor) -> tuple[Outputs, torch.Tensor]:
        """Images [N, C, H, W], bytes or numbers from 0 to 1 -> outputs, values."""
        x = _scaled(observations)
        for block in self.blocks:
            x = block(x)
        result: tuple[Outputs, torch.Tensor] = self.heads(F.relu(self.fc(F.relu(x).flatten(1))))
        return result


class _ImpalaBlock(nn.Module):
    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = _conv(channels, out)
        self.residuals = nn.ModuleList(_conv(out, out) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.first(x), 3, 2, 1)
        for i in (0, 2):
            x = x + self.residuals[i + 1](F.relu(self.residuals[i](F.relu(x))))
        return x


class Gru(nn.Module):
    """A layer, a GRU (Cho et al. 2014) and heads: for numbers that do not tell all there is to know."""

    def __init__(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], *, units: int = 128
    ) -> None:
        super().__init__()
        self.state_size = units
        self.fc = _linear(_size_of(observation_space), units)
        self.gru = nn.GRUCell(units, units)
        self.heads = Heads(units, action_space)

    def forward(self, observations: torch.Tensor, state: torch.Tensor) -> tuple[Outputs, torch.Tensor, torch.Tensor]:
        """Numbers [N, ...] and the state [N, units] that the step before left -> outputs, values and the next state."""
        state = self.gru(torch.tanh(self.fc(observations.flatten(1))), state)
        return (*self.heads(state), state)


class FrameTransformer(nn.Module):
    """A small transformer over the frames of an observation: what moved, by attention instead of by channels.

    The convolutions of Mnih et al. 2016 look at each frame by itself; two layers of attention (Vaswani et al. 2017,
    with the norm first) then compare the frames, and the newest one's features go to the heads.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        *,
        features: int = 128,
        layers: int = 2,
        attention_heads: int = 4,
    ) -> None:
        super().__init__()
        frames, height, by = _image_of(observation_space)
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 8, 4), nn.Conv2d(16, 32, 4, 2)
        for kernel, stride in ((8, 4), (4, 2)):
            height, by = (height - kernel) // stride + 1, (by - kernel) // stride + 1
        if min(height, by) < 1:
            raise ValueError(f"it needs images of at least 20x20, and these are {observation_space}")
        self.fc = _linear(32 * height * by, features)
        self.places = nn.Parameter(torch.randn(frames, features) / math.sqrt(features))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                features, attention_heads, 2 * features, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(features)
        self.heads = Heads(features, action_space)

    def forward(self, observations: torch.Tensor) -> tuple[Outputs, torch.Tensor]:
        """Images [N, frames, H, W] -> outputs, values."""
        count, frames, height, by = observations.shape
        x = _scaled(observations).reshape(count * frames, 1, height, by)
        x = F.relu(self.conv2(F.relu(self.conv1(x)))).flatten(1)
        x = self.fc(x).reshape(count, frames, -1) + self.places
        for layer in self.layers:
            x = layer(x)
        result: tuple[Outputs, torch.Tensor] = self.heads(self.norm(x[:, -1]))
        return result


class ImageAndVector(nn.Module):
    """For observations that are a Dict with one image, from 8x8 on, and numbers beside it."""

    def __init__(self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> None:
        super().__init__()
        parts = getattr(observation_space, "spaces", {})
        images = [name for name, space in parts.items() if len(space.shape) == 3]
        if len(images) != 1 or len(parts) < 2:
            raise ValueError(f"it is for a Dict of one image and numbers, and the observations are {observation_space}")
        self.image = images[0]
        self.numbers = [name for name in parts if name != self.image]
        channels, height, by = parts[self.image].shape
        self.conv1, self.conv2 = nn.Conv2d(channels, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.conv3 = nn.Conv2d(32, 32, 3, 2, 1)
        for _ in range(3):
            height, by = (height + 1) // 2, (by + 1) // 2
        self.of_image = _linear(32 * height * by, 128)
        self.of_numbers = _linear(sum(math.prod(parts[name].shape) for name in self.numbers), 64)
        self.joined = _linear(192, 128)
        self.heads = Heads(128, action_space)

    def forward(self, observations: dict[str, torch.Tensor]) -> tuple[Outputs, torch.Tensor]:
        """The parts by their names -> outputs, values."""
        x = _scaled(observations[self.image])
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x))
        numbers = torch.cat([observations[name].flatten(1) for name in self.numbers], 1)
        both = torch.cat((F.relu(self.of_image(x.flatten(1))), torch.tanh(self.of_numbers(numbers))), 1)
        result: tuple[Outputs, torch.Tensor] = self.heads(F.relu(self.joined(both)))
        return result


def _outputs_of(space: gymnasium.Space[Any]) -> tuple[list[int], bool]:
    """How many outputs each head has, and whether they are means."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return [math.prod(space.shape)], True
    if isinstance(space, spaces.MultiDiscrete):
        return [int(count) for count in space.nvec.reshape(-1)], False
    if isinstance(space, spaces.Discrete):
        return [int(space.n)], False
    raise ValueError(f"actions are {space}, and must be Discrete, MultiDiscrete or Box")


def _image_of(space: gymnasium.Space[Any]) -> tuple[int, int, int]:
    """Channels, height and width."""
    shape = getattr(space, "shape", None)
    if shape is None or len(shape) != 3:
        raise ValueError(f"it needs images [channels, height, width], and the observations are {space}")
    return shape[0], shape[1], shape[2]


def _size_of(space: gymnasium.Space[Any]) -> int:
    if space.shape is None:
        raise ValueError(f"it needs one array of numbers, and the observations are {space}")
    return math.prod(space.shape)


def _scaled(images: torch.Tensor) -> torch.Tensor:
    """Bytes as numbers from 0 to 1."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def _linear(inputs: int, outputs: int, *, gain: float = math.sqrt(2)) -> nn.Linear:
    """With an orthogonal matrix, Saxe et al. 2014, and no bias to begin with."""
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def _conv(channels: int, out: int) -> nn.Conv2d:
    """3x3, over an image whose size it keeps."""
    conv = nn.Conv2d(channels, out, 3, padding=1)
    nn.init.orthogonal_(conv.weight, math.sqrt(2))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv
