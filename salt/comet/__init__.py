"""Comet: a process of its own sends what a run folder holds, so that no network can hold a training up.

Nothing here imports torch or Lightning; `comet_ml` is imported in that process alone.
"""
