"""Photographs: find and align faces, rank them by how neutral they are, paste results back."""
