"""Arguments of tools: their other spellings, the notebook that is meant, and what a model is told of wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from langchain_core.tools import InjectedToolArg
from pydantic import BaseModel, Field, ValidationError, create_model, model_validator
from pydantic.json_schema import SkipJsonSchema

from langchain_jupyter.human import is_refused_answer

_SPELLINGS: Mapping[str, str] = {
    "cell_index": "cell",
    "index": "cell",
    "cell_source": "source",
    "code": "source",
    "content": "source",
    "timeout_seconds": "timeout",
}


class ToolArgs(BaseModel):
    """Base of all arguments. `runtime` is hidden from the model and cannot be forged by it.

    Other people's spellings (`cell_index`, `cell_source`, `timeout_seconds`, …) are accepted and not in the schema.
    """

    runtime: Annotated[SkipJsonSchema[Any], InjectedToolArg] = Field(default=None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        known = dict(values)
        for spelling, name in _SPELLINGS.items():
            if spelling in known and spelling not in cls.model_fields and name in cls.model_fields:
                known.setdefault(name, known.pop(spelling))
        for name in ("cell", "before"):
            if isinstance(known.get(name), int):
                known[name] = str(known[name])
        return known


def naming_notebook(arguments: type[BaseModel]) -> type[BaseModel]:
    """The same arguments, with the notebook that is meant before them: for tools that work on many."""
    others = {name: (field.annotation, field) for name, field in arguments.model_fields.items() if name != "runtime"}
    fields: dict[str, Any] = {"notebook": (str, Field(description="Path from list_notebooks")), **others}
    return create_model(arguments.__name__, __base__=ToolArgs, __doc__=arguments.__doc__, **fields)


def explain(error: ValidationError | Any) -> str:
    """A validation error as a model can use it: no URLs, no types of pydantic.

    Raises:
        ValidationError: It was a person's answer, not the model's arguments, that was not valid.
    """
    if is_refused_answer(error):
        raise error
    problems = "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}" for problem in error.errors()
    )
    return f"[invalid_argument] {problems}. Nothing was done."
