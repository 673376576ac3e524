"""Sliding windows over the rows of many keys: exact, canonical, at a cost that no window's length decides.

`kernel.aggregate` is pure numpy over Arrow columns. Importing this package loads nothing.
"""
