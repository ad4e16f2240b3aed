"""MONAI bundles of 3D diffusion models, in voxels or in latents, as generators."""
