"""Jupyter servers: over HTTP and WebSocket, behind a hub, and one of our own."""
