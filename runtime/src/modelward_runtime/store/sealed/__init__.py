"""The sealed format of FORMAT.md: written by `modelward seal`, opened by `load.py`."""
