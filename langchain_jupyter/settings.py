"""What a developer can set: how much of a notebook a model sees."""

from __future__ import annotations

from dataclasses import dataclass, fields

from langchain_jupyter.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLimits:
    """How much one tool call may show a model. The person's notebook always has everything.

    Attributes:
        per_output: Characters of one output, its fence and notes included; never more than `per_call`.
        per_call: Characters of all text of one result together, first line, fences and notes included.
        images: Images shown per call; the others are named by reference. 0 shows none.
        image_side: Pixels of the longer side that an image is scaled down to.
        image_bytes: Bytes that an encoded image may have, before base64.

    Raises:
        SettingsError: A limit is not a whole number, or is one that nothing fits into.
    """

    per_output: int = 4_000
    per_call: int = 12_000
    images: int = 3
    image_side: int = 768
    image_bytes: int = 100_000

    def __post_init__(self) -> None:
        for each in fields(self):
            value: object = getattr(self, each.name)
            least = 0 if each.name == "images" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise SettingsError(
                    f"OutputLimits.{each.name} is {value!r}; it must be a whole number, {least} or more. "
                    f"Leave it out for {each.default!r}."
                )
