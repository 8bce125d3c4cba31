"""Expression transfer between faces: latent arithmetic, and the tools around it."""
