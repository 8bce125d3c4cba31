"""Photographs: faces found, aligned, ranked by how neutral they are, and pasted back."""
