"""Files and messages: errors, atomic writes, pictures, provenance, tables. Imports no JAX."""
