"""Write the reference pictures of a job's people: the mean face, or the neutral picture used."""

from pathlib import Path

import numpy as np

from glow_jax.io.output_folders import has_file, make_folder
from glow_jax.io.output_schema import MEANS
from glow_jax.io.pictures import write_image
from glow_jax.io.provenance import Provenance
from transfer.codec import Codec, to_bytes
from transfer.jobs.commit import SOURCE_TYPE
from transfer.jobs.compute import ENDS_THE_RUN, Compute
from transfer.jobs.inputs import Inputs
from transfer.jobs.job import Job
from transfer.jobs.names import file_name
from transfer.methods import method_names


def reference_file(out: Path, role: str, person: str) -> Path:
    """The path of a person's decoded reference picture; `role` is "source" or "target"."""
    return out / MEANS / f"{role}_{file_name(person)}.png"


def write_references(job: Job, codec: Codec, inputs: Inputs, compute: Compute, out: Path) -> None:
    """Decode and write every reference picture that does not exist yet.

    A source without another picture than the expression's has none. A person whose reference
    picture cannot be made is left out; so are, with the reason in the tables, the outputs that
    need it.

    Raises:
        OutputError: the folder cannot be written to.
    """
    wanted = {}
    with_source = job.order[~job.alone[job.order]]
    for role, column, needed in (
        ("source", job.plan.source, with_source),
        ("target", job.plan.target, job.order),
    ):
        people, rows = np.unique(column[needed], return_index=True)
        for person, row in zip(people.tolist(), needed[rows].tolist(), strict=True):
            path = reference_file(out, role, job.plan.names[person])
            if not has_file(out, path.relative_to(out)):
                wanted[path] = person, method_names()[job.plan.method[row]]
    if not wanted:
        return
    make_folder(out, MEANS)
    inputs.prepare(job.order.tolist())
    for path, (person, method) in wanted.items():
        if not inputs.usable(person):
            continue
        try:
            reference = compute.method(method).reference(person)
            values = np.asarray(codec.decode(inputs.tree(reference.latents[None])))
            recipe = {"mean_of": [Path(job.plan.files[i]).name for i in reference.pictures]}
            write_image(path, to_bytes(values)[0], Provenance(SOURCE_TYPE, codec.name, recipe))
        except ENDS_THE_RUN:
            raise
        except Exception:  # the next person's may be made
            continue
