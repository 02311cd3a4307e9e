"""Responses: documents, problems, and bodies written piece by piece."""
