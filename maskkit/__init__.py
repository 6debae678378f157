"""maskkit: decide, see and prove how much the loss of every token counts, and train with it."""

__version__ = "0.1.0"
