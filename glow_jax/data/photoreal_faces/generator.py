"""The generator: MobileStyleGAN's two networks, run by OpenVINO on one thread.

The mapping network computes a style from a latent, the synthesis network a picture from a style.
The synthesis network is cut at the 12 channels before its last upsampling, an inverse wavelet
transform to 1024 pixels. The low band of that transform, the first three channels, is twice the
picture at 512 pixels.
"""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from glow_jax.data.photoreal_faces.files import INSTALL, network_file
from glow_jax.data.photoreal_faces.people import N_LATENT, Person
from glow_jax.io.errors import InputError

SIDE_PX = 512
Style = Float[np.ndarray, "512"]
Picture = UInt8[np.ndarray, "512 512 3"]

# The layers whose modulation (one number per channel, affine in the style) can be edited: names,
# resolutions and channels. These layers determine expressions; coarser layers determine pose and
# shape of the face, finer ones skin and light.
EDITED = (
    ("Gemm_177", 16, 128),
    ("Gemm_210", 16, 512),
    ("Gemm_252", 16, 512),
    ("Gemm_277", 32, 128),
    ("Gemm_310", 32, 512),
    ("Gemm_352", 32, 512),
    ("Gemm_377", 64, 128),
    ("Gemm_410", 64, 512),
    ("Gemm_452", 64, 512),
)
N_EDITED = sum(n for _, _, n in EDITED)  # 3456
Edit = Float[np.ndarray, "3456"]
_LAST = "Conv_753"  # 12 channels at 512 pixels; its only consumer adds the bias
_MEAN_OF = 1024  # latents of which the mean style is computed


class Generator:
    """Pictures of people, made on one thread.

    On one machine they are the same, bit by bit, whatever the number of worker processes.

    Raises:
        InputError: OpenVINO or random-face is not installed.
    """

    def __init__(self) -> None:
        try:
            import openvino
        except ImportError as error:
            raise InputError(f"{error.name} is not installed; {INSTALL}") from None
        core = openvino.Core()
        for name in ("mapping weights", "synthesis weights"):
            network_file(name)
        mapping = core.read_model(network_file("mapping"))
        synthesis = _cut(openvino, core.read_model(network_file("synthesis")))
        how = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        # OpenVINO would pin the thread of every process to the same processor, the first.
        how["ENABLE_CPU_PINNING"] = False
        self._mapping = core.compile_model(mapping, "CPU", how)
        self._synthesis = core.compile_model(synthesis, "CPU", how)
        latents = np.random.Generator(np.random.PCG64(0)).standard_normal((_MEAN_OF, N_LATENT))
        styles = [self._map(latent.astype(np.float32)) for latent in latents]
        mean = np.stack(styles).astype(np.float64).mean(axis=0, keepdims=True)
        self.mean: Style = mean[0].astype(np.float32)

    def style(self, person: Person) -> Style:
        """The person's style, drawn towards the mean style by the person's truncation."""
        latent, truncation = person.draw()
        away = self._map(latent) - self.mean
        return np.asarray(self.mean + np.float32(truncation) * away)

    def picture(self, style: Style, edit: Edit | None = None) -> Picture:
        """A person's picture, aligned as FFHQ's are.

        Args:
            style: of all layers.
            edit: added to the modulations of `EDITED`, one layer after the other.
        """
        added = np.zeros(N_EDITED, np.float32) if edit is None else edit
        bands = self._synthesis([style[None], added[None]])[0]
        values = (bands[0, :3].transpose(1, 2, 0) / 2 + 1) * 127.5  # -1 to 1 becomes 0 to 255
        return np.rint(np.clip(values, 0, 255)).astype(np.uint8)

    def _map(self, latent: Style) -> Style:
        return self._mapping([latent[None]])[0][0].copy()


def _cut(openvino: Any, model: Any) -> Any:
    """The synthesis network up to the 12 channels, with the edit as a second input."""
    operations = {o.get_friendly_name(): o for o in model.get_ordered_ops()}
    (consumer,) = operations[_LAST].output(0).get_target_inputs()
    (style,) = model.get_parameters()
    ops = openvino.opset13
    edit = ops.parameter([1, N_EDITED], np.float32, name="edit")
    parts = ops.variadic_split(edit, 1, np.array([n for _, _, n in EDITED], np.int64))
    for index, (name, _, _) in enumerate(EDITED):
        modulation = operations[name].output(0)
        targets = modulation.get_target_inputs()
        moved = ops.add(modulation, parts.output(index))
        for target in targets:
            target.replace_source_output(moved.output(0))
    return openvino.Model([consumer.get_node().output(0)], [style, edit], "cut")
