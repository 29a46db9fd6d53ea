"""The children of a ModelDeployment: one pure builder file per kind; draw.py lists them."""
