"""Conversion of normflows' checkpoints, compared with normflows itself as installed."""

import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("normflows")

import glow_jax  # noqa: E402
from glow_jax.convert import SelfCheck, convert  # noqa: E402
from tests.support.make_normflows_goldens import (  # noqa: E402
    BASES,
    CONDITIONING,
    GOLDENS,
    SCALES,
    SHAPES,
    TRANSFORMS,
    Spec,
    build,
    every_spec,
    outputs,
)
from tests.support.normflows import (  # noqa: E402
    Golden,
    assert_same_function,
    converted,
    load_golden,
    state_of,
    told,
)

# normflows makes its initial matrices with torch.lu.
pytestmark = pytest.mark.filterwarnings("ignore:torch.lu is deprecated")

OPTIONS: dict[str, tuple[Any, ...]] = {
    "scale": tuple(SCALES),
    "split_mode": tuple(CONDITIONING),
    "leaky": (0.0, 0.1),
    "use_lu": (True, False),
    "net_actnorm": (False, True),
    "base": BASES,
    "transform": TRANSFORMS,
    "shape": tuple(SHAPES),
    "double": (False, True),
}
UNLOOKED = SelfCheck(0.0, 0.0, 0, 1.0, 1.0, "not looked at")


def pairwise(options: Mapping[str, tuple[Any, ...]], seed: int = 0) -> list[Spec]:
    """Few specs that together have every value of every option beside every one of another."""
    rng = random.Random(seed)
    names = list(options)

    def pairs(values: tuple[Any, ...]) -> set[tuple]:
        return set(itertools.combinations(zip(names, values, strict=True), 2))

    left = set().union(
        *(
            {((a, x), (b, y)) for x in options[a] for y in options[b]}
            for a, b in itertools.combinations(names, 2)
        )
    )
    chosen = []
    while left:
        drawn = [tuple(rng.choice(options[name]) for name in names) for _ in range(300)]
        best = max(drawn, key=lambda values: len(pairs(values) & left))
        if gained := pairs(best) & left:
            left -= gained
            chosen.append(Spec(**dict(zip(names, best, strict=True))))
    return chosen


def label_of(spec: Spec) -> str:
    """A spec as a test's name."""
    return "-".join(str(value).replace(" ", "_") for value in spec)


def made(spec: Spec, folder: Path, seed: int = 0) -> tuple[Golden, Path]:
    """A model's outputs and its file, in either of torch's formats."""
    golden = outputs(spec, build(spec, seed), seed)
    state = {k: torch.from_numpy(v.copy()) for k, v in state_of(golden).items()}
    path = folder / "model.pt"
    torch.save(state, path, _use_new_zipfile_serialization=bool(seed % 2))
    return golden, path


@pytest.fixture
def unlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the converter's own look at its result, which is half of a case's time."""
    monkeypatch.setattr(glow_jax.convert, "self_check", lambda *_: UNLOOKED)


CASES = pairwise(OPTIONS)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: label_of(CASES[n]))
def test_same_function(number: int, tmp_path: Path, unlooked: None) -> None:
    golden, path = made(CASES[number], tmp_path, number)
    out = converted(golden, path, tmp_path / "out").path
    assert_same_function(golden, out, "float64")
    if number % 5 == 0:
        assert_same_function(golden, out, "float32")


@pytest.mark.slow
@pytest.mark.parametrize("split_mode", CONDITIONING)
@pytest.mark.parametrize("scale", SCALES)
def test_same_function_of_every_kind(
    scale: str, split_mode: str, tmp_path: Path, unlooked: None
) -> None:
    """The full product of what meets in a coupling; bases, which meet nothing, go round."""
    kept = ("leaky", "use_lu", "net_actnorm", "transform")
    choices = {name: OPTIONS[name] for name in kept}
    others = itertools.cycle(itertools.product(*(OPTIONS[n] for n in ("shape", "base", "double"))))
    first = 5 * list(SCALES).index(scale) + 7 * list(CONDITIONING).index(split_mode)
    others = itertools.islice(others, first, None)
    with jax.disable_jit():  # operations, which the cases share, compile once
        for number, spec in enumerate(
            every_spec(scale=(scale,), split_mode=(split_mode,), **choices)
        ):
            shape, base, double = next(others)
            spec = spec._replace(shape=shape, base=base, double=double)
            folder = tmp_path / str(number)
            folder.mkdir()
            golden, path = made(spec, folder, number)
            out = converted(golden, path, folder / "out").path
            try:
                assert_same_function(golden, out, "float64")
            except AssertionError as error:
                raise AssertionError(label_of(spec)) from error


@pytest.mark.parametrize(
    ("base", "rows"),
    [
        ("diagonal classes", [[0.2, 0.5, 0.7], [1.0, 1.0, 0.0]]),
        ("glow classes", [[0.2, 0.5, 0.3], [0.0, 0.5, 0.5]]),  # what classes share, once
    ],
)
def test_rows_of_attributes(base: str, rows: list, tmp_path: Path, unlooked: None) -> None:
    """normflows multiplies them into its classes; so do we."""
    spec = Spec(base=base, shape="one level")
    golden, path = made(spec, tmp_path)
    x = np.asarray(golden["x"])
    theirs = torch.from_numpy(x.transpose(0, 3, 1, 2) + 0.5)
    with torch.no_grad():
        want = (
            build(spec).double().log_prob(theirs, torch.tensor(rows, dtype=torch.float64)).numpy()
        )
    out = converted(golden, path, tmp_path / "out").path
    with jax.enable_x64(True):
        model = glow_jax.load(out, fold=False, dtype=jnp.float64)
        got = model.log_prob(jnp.asarray(x), jnp.asarray(rows))
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_the_converters_own_check_is_sound(tmp_path: Path) -> None:
    """Its figures are those of the original on the same picture."""
    from glow_jax.convert.selfcheck import test_picture as picture_of

    spec = Spec(shape="one level")
    golden, path = made(spec, tmp_path)
    made_ = converted(golden, path, tmp_path / "out")
    image = picture_of(made_.config)
    x = (image.transpose(0, 3, 1, 2) + 0.5) / 256
    model = build(spec).double()
    with torch.no_grad():
        log_prob = float(model.log_prob(torch.from_numpy(x), None))
    bits = 8 - log_prob / np.log(2) / image.size
    assert made_.check.bits_per_dim == pytest.approx(bits, rel=1e-5)
    assert made_.check.round_trip_max < 0.01


def test_names_of_data_parallel_and_of_a_wrapping(tmp_path: Path, unlooked: None) -> None:
    """`module.` in front, and a dict around it with an optimiser's state."""
    golden, path = made(Spec(shape="one level"), tmp_path)
    state = torch.load(path, weights_only=True)
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
    wrapped = {
        "epoch": 3,
        "optim": optimiser.state_dict(),
        "model": {f"module.{k}": v for k, v in state.items()},
    }
    torch.save(wrapped, path)
    out = converted(golden, path, tmp_path / "out").path
    assert_same_function(golden, out, "float32")


@pytest.mark.parametrize("name", GOLDENS)
def test_goldens_are_this_versions(name: str) -> None:
    """The files in the repository are what the script makes, to rounding."""
    number = list(GOLDENS).index(name)
    fresh = outputs(GOLDENS[name], build(GOLDENS[name], number), number)
    kept = load_golden(f"normflows_{name}.npz")
    assert set(fresh) == set(kept)
    assert told(fresh) == told(kept)
    for key in set(kept) - {"settings"}:
        np.testing.assert_allclose(fresh[key], kept[key], rtol=1e-5, atol=1e-5)


def test_a_model_that_is_no_glow_is_refused(tmp_path: Path) -> None:
    """normflows' other flows have other names."""
    import normflows

    net = normflows.nets.MLP([1, 4, 2], init_zeros=True)
    flows = [normflows.flows.AffineCouplingBlock(net), normflows.flows.Permute(2)]
    model = normflows.NormalizingFlow(normflows.distributions.DiagGaussian(2), flows)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    with pytest.raises(glow_jax.InputError, match="none of the known implementations"):
        convert(tmp_path / "model.pt", tmp_path / "out", image_size=(8, 8), bits=8)
