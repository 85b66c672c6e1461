"""The tool that looks at a notebook as a reviewer does."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from langchain_jupyter.analysis.linting import MISSING, lint
from langchain_jupyter.analysis.review import fresh_of, review
from langchain_jupyter.rendering.findings import ranked, render_findings
from langchain_jupyter.rendering.render import Rendered
from langchain_jupyter.tools.base import JupyterTool
from langchain_jupyter.tools.call import Call
from langchain_jupyter.tools.read import NoArgs


class CheckNotebook(JupyterTool):
    """What a reviewer should look at first."""

    effect = "read"
    name: str = "check_notebook"
    description: str = "What a reviewer should look at first, by cell."
    args_schema: type[BaseModel] = NoArgs

    async def _call(self, call: Call, **arguments: Any) -> Rendered:
        session, document = call.session, call.session.document
        cells, python = list(document.cells()), session.python
        found = review(cells, session.standings, python=python, name_of=document.handle)
        linted = await lint(cells) if python else []
        if linted:
            found += fresh_of(linted, found)
        return render_findings(
            ranked(found, document.ids),
            total=len(cells),
            handle_of=document.handle,
            limits=call.limits,
            note=MISSING if linted is None else "",
        )
