"""The tools for any MCP client: over stdio, over streamable HTTP, with the routes of the integration guide."""
