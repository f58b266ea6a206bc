"""A parser for verbs that take several names, whose mistakes are errors as everywhere."""

from argparse import ArgumentParser
from typing import NoReturn

from salt.errors import ConfigError


class Words(ArgumentParser):
    """An ArgumentParser that raises ConfigError instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Raises ConfigError."""
        raise ConfigError(f"{message}; see {self.prog} --help")
