"""Runs: folders with one training each, where they come from, and who works on them.

Plain Python: nothing here imports torch or Lightning.
"""
