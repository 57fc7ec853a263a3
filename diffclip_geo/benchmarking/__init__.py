"""Few-shot accuracy of this package against what users have, on scenes with known classes."""

from .run import benchmark

__all__ = ["benchmark"]
