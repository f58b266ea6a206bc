"""The class of the model that a config describes."""

from typing import Any

from salt.adversarial import AdversarialTagger
from salt.training import Tagger


def make_tagger(class_type: type[Any], *args: Any, **kwargs: Any) -> Any:
    """What the parser makes of its options of the model: without an adversary a plain `Tagger`.

    Args:
        class_type: The class whose options they are, an `AdversarialTagger`.
        args: None.
        kwargs: The options.
    """
    if kwargs["adversary"] is None:
        return Tagger(**{key: value for key, value in kwargs.items() if key != "adversary"})
    return AdversarialTagger(**kwargs)
