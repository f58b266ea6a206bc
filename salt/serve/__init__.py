"""The server of jets, ``main serve``."""
