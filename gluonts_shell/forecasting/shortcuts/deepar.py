"""DeepAR's sample paths as GluonTS 0.17 draws them, in half the time or less: same seed, same numbers.

GluonTS runs the network over all paths at each step; there it copies the past of every path, computes what the paths
of a series share once for each path, and makes and checks three distributions. Here

* what they share (features, and lags that reach before the forecast) goes through the first layer's weights once for
  each series, and for all steps beforehand;
* a step is one product of matrices for each layer. Rows are values and columns are paths, so that a layer's input, its
  gates and its state are blocks of memory that nothing has to be copied for;
* Student's distribution is drawn by the operations of its class without the checks. Where a path is not finite in the
  end, GluonTS draws them all again, and its checks say what is wrong.

Sums are taken in another order, so values equal GluonTS's to float32 and not to the last bit. Random numbers are drawn
in GluonTS's order and shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from gluonts.torch.distributions import StudentTOutput
from gluonts.torch.distributions.output import PtArgProj
from gluonts.torch.model.deepar.module import DeepARModel
from torch import Tensor, nn

Parameters = tuple[Tensor, ...]
GATES = (
    0,
    1,
    3,
    2,
)  # torch has them as input, forget, cell, output; here those with a sigmoid lie together


def quicker(original: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A `DeepARModel.forward`, which asks the original wherever the model is not exactly what is known here."""

    def forward(  # noqa: PLR0917 - GluonTS's parameters
        self: Any,
        feat_static_cat: Tensor,
        feat_static_real: Tensor,
        past_time_feat: Tensor,
        past_target: Tensor,
        past_observed_values: Tensor,
        future_time_feat: Tensor,
        num_parallel_samples: int | None = None,
    ) -> Tensor:
        past = (
            feat_static_cat,
            feat_static_real,
            past_time_feat,
            past_target,
            past_observed_values,
        )
        if known(self, past_target):
            before = torch.get_rng_state()
            count = (
                self.num_parallel_samples if num_parallel_samples is None else num_parallel_samples
            )
            samples = paths(self, past, future_time_feat, count)
            if bool(torch.isfinite(samples).all()):
                return samples
            torch.set_rng_state(before)
        return original(self, *past, future_time_feat, num_parallel_samples)

    forward.__wrapped__ = original  # type: ignore[attr-defined]
    return forward


def known(model: Any, past_target: Tensor) -> bool:
    """Whether all of it is GluonTS's and torch's own, in float32 on the CPU, and no gradients are wanted."""
    if type(model) is not DeepARModel or model.training or torch.is_grad_enabled():
        return False
    if past_target.dtype is not torch.float32 or min(model.lags_seq) < 0:
        return False
    if not _known_network(model.rnn) or not _known_projection(model.param_proj):
        return False
    parts = (model, model.rnn, model.param_proj, *model.param_proj.proj)
    return all(map(_unhooked, parts)) and all(map(_on_cpu, model.parameters()))


def _known_network(rnn: Any) -> bool:
    if type(rnn) is not nn.LSTM:
        return False
    form = (rnn.batch_first, rnn.bias, rnn.bidirectional, rnn.proj_size)
    return form == (True, True, False, 0)


def _known_projection(projection: Any) -> bool:
    return type(projection) is PtArgProj and all(map(_known_layer, projection.proj))


def _known_layer(layer: Any) -> bool:
    return type(layer) is nn.Linear and layer.bias is not None


def _unhooked(part: Any) -> bool:
    """Nobody looks at what passes it."""
    return not part._forward_hooks and not part._forward_pre_hooks


def _on_cpu(weight: Tensor) -> bool:
    return weight.dtype is torch.float32 and weight.is_cpu


def paths(model: Any, past: Sequence[Tensor], future_time_feat: Tensor, count: int) -> Tensor:
    """`count` paths of each series: (series, count, prediction_length). past: the arguments of `forward` up to it."""
    params, scale, _, static, state = model.unroll_lagged_rnn(*past, future_time_feat[:, :1])
    scales = scale.repeat_interleave(count, dim=0)
    lags = Lags(model.lags_seq, past[3] / scale, model.prediction_length)
    network = Network(model.rnn, state, lags, count)
    shared = network.shared(lags, static, future_time_feat[:, 1:])
    project = projection(model.param_proj)
    draw = student if type(model.distr_output) is StudentTOutput else drawn(model)
    first = tuple(param[:, -1:].repeat_interleave(count, dim=0) for param in params)
    samples = [draw(first, scales)]
    scaled = scale.new_empty(model.prediction_length, len(scales))
    for step in range(1, model.prediction_length):
        torch.div(samples[-1][:, 0], scales[:, 0], out=scaled[step - 1])
        output = network.step(shared[step - 1], scaled, lags.sampled(step))
        samples.append(draw(project(output), scales))
    found = model.post_process_samples(torch.cat(samples, dim=1))
    return found.reshape(-1, count, model.prediction_length)


class Lags:
    """Which earlier values a step sees: those before the forecast, which all paths share, and those of the path.

    They are ordered from the farthest to the nearest, so that those that come from the path are the last ones.
    past: (series, length), scaled.
    """

    def __init__(self, lags: Sequence[int], past: Tensor, steps: int) -> None:
        self.order = sorted(range(len(lags)), key=lambda place: -lags[place])
        self._back = torch.tensor([-1 - lags[place] for place in self.order])
        places = self._back + torch.arange(1, steps)[:, None]
        before = past[:, (places + past.shape[1]).clamp(max=past.shape[1] - 1)]
        self.shared = before.masked_fill(places >= 0, 0.0)
        """(series, steps - 1, lags) from the second step on, with 0 for those that come from the path."""
        self._sampled = (places >= 0).sum(1).tolist()

    def sampled(self, step: int) -> Tensor:
        """The steps whose samples this one sees."""
        count = self._sampled[step - 1]
        return self._back[len(self._back) - count :] + step


class Network:
    """The recurrent layers, for all paths at once.

    Rows of `_values` are the lags and then each layer's output, so that a layer's input is the rows of the one below
    it and its own. Every step writes to the same memory.
    """

    def __init__(self, rnn: Any, state: tuple[Tensor, Tensor], lags: Lags, count: int) -> None:
        self._size, self._lags, self._paths = rnn.hidden_size, len(lags.order), count
        hidden, cells = (part.transpose(1, 2).repeat_interleave(count, dim=2) for part in state)
        self._values = hidden.new_empty(self._lags + rnn.num_layers * self._size, hidden.shape[2])
        self._values[self._lags :] = hidden.flatten(end_dim=1)
        self._gates = hidden.new_empty(len(GATES) * self._size, hidden.shape[2])
        self._opened, self._new = self._gates[: 3 * self._size], self._gates[3 * self._size :]
        self._layers = []
        for number, (weights, layer_cells) in enumerate(zip(rnn.all_weights, cells, strict=True)):
            inputs, own, *biases = (self._sorted(weight) for weight in weights)
            bias = biases[0] + biases[1]
            if number == 0:
                self._shared, self._shared_bias = inputs, bias
                inputs = inputs[:, lags.order]
            layer = torch.cat((inputs, own), dim=1), bias[:, None], layer_cells, *self._rows(number)
            self._layers.append(layer)

    def _sorted(self, weight: Tensor) -> Tensor:
        gates = weight.unflatten(0, (len(GATES), self._size))
        return gates[list(GATES)].flatten(end_dim=1)

    def _rows(self, layer: int) -> tuple[Tensor, Tensor]:
        """The values that a layer reads, and those that it writes."""
        end = self._lags + (layer + 1) * self._size
        first = end - 2 * self._size if layer else 0
        return self._values[first:end], self._values[end - self._size : end]

    def shared(self, lags: Lags, static: Tensor, time_feat: Tensor) -> Tensor:
        """What all paths of a series add to the first layer's gates: (steps - 1, gates, series, 1)."""
        features = static.unsqueeze(1).expand(-1, time_feat.shape[1], -1)
        known = torch.cat((lags.shared, features, time_feat), dim=-1)
        of_lags = self._layers[0][0][:, : self._lags]
        weight = torch.cat((of_lags, self._shared[:, self._lags :]), dim=1)
        added = nn.functional.linear(known, weight, self._shared_bias)
        return added.permute(1, 2, 0).unsqueeze(-1).contiguous()

    def step(self, shared: Tensor, scaled: Tensor, sampled: Tensor) -> Tensor:
        """The last layer's output (values, paths). scaled: (steps, paths), of which `sampled` are seen."""
        first = self._lags - len(sampled)
        torch.index_select(scaled, 0, sampled, out=self._values[first : self._lags])
        (weight, _, cells, inputs, output), *others = self._layers
        torch.mm(weight[:, first:], inputs[first:], out=self._gates)
        self._gates.unflatten(1, (-1, self._paths)).add_(shared)
        self._advance(cells, output)
        for weight, bias, cells, inputs, output in others:
            torch.addmm(bias, weight, inputs, out=self._gates)
            self._advance(cells, output)
        return output

    def _advance(self, cells: Tensor, output: Tensor) -> None:
        self._new.tanh_()
        enter, keep, leave = self._opened.sigmoid_().chunk(3)
        cells.mul_(keep).addcmul_(enter, self._new)
        torch.tanh(cells, out=output).mul_(leave)


def projection(known: Any) -> Callable[[Tensor], Parameters]:
    """The network's output (values, paths) -> the distribution's parameters, (paths, 1) each, in one product."""
    weight = torch.cat([part.weight for part in known.proj])
    bias = torch.cat([part.bias for part in known.proj])[:, None]
    sizes = [part.out_features for part in known.proj]

    def parameters(output: Tensor) -> Parameters:
        rows = torch.addmm(bias, weight, output)
        found = [part.t().unsqueeze(1) for part in rows.split(sizes)]
        return known.domain_map(*found)  # type: ignore[no-any-return]

    return parameters


def student(params: Parameters, scales: Tensor) -> Tensor:
    """As `StudentT.sample` of torch draws it, scaled as GluonTS does."""
    freedom, location, spread = params
    normal = torch.empty_like(freedom).normal_()
    squares = torch._standard_gamma(0.5 * freedom).div_(0.5)
    squares.clamp_(min=torch.finfo(squares.dtype).tiny)
    sample = normal.mul_(torch.rsqrt(squares.div_(freedom)))
    return sample.mul_(spread).add_(location).mul_(scales)


def draws_as_torch() -> bool:
    """Whether this torch's own class draws the same. The process's random numbers go on as if nothing was drawn."""
    freedom, location, spread = torch.tensor([[[2.5], [9.0]], [[0.5], [-3.0]], [[1.5], [0.1]]])
    scales = torch.tensor([[2.0], [30.0]])
    before = torch.get_rng_state()
    torch.manual_seed(0)
    found = student((freedom, location, spread), scales)
    torch.manual_seed(0)
    known = StudentTOutput().distribution((freedom, location, spread), scale=scales).sample()
    torch.set_rng_state(before)
    return bool(torch.allclose(found, known))


def drawn(model: Any) -> Callable[[Parameters, Tensor], Tensor]:
    """Of any other distribution, by its class."""

    def draw(params: Parameters, scales: Tensor) -> Tensor:
        return model.output_distribution(params, scale=scales).sample()

    return draw
