"""Cross-lingual transfer: measure it, measure similarity, explain one by the other."""

__version__ = "0.1.0"
