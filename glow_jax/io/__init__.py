"""Files and messages: errors, atomic writes, pictures and provenance, tables. No JAX in it."""
