"""Writers of other codes' checkpoints, byte by byte and without these codes; tests use them too."""
