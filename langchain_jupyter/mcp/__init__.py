"""The tools for any MCP client: over stdio, over streamable HTTP, with the routes of the integration guide."""

TOOL_CALL_ID = "langchain-jupyter/tool_call_id"
"""Member of a call's `_meta` with which a client names it, so that the same call again is not done twice."""

ARTIFACT = "langchain-jupyter/artifact"
"""Member of a result's `_meta`: status, execution count, duration and references, as LangChain's artifact has them."""
