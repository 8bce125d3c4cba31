"""Photographs: aligned faces cut out of them, ranked, and put back."""
