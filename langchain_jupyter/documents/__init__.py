"""Notebooks as shared documents, and the places that keep them."""
