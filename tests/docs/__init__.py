"""The documents, held to their word: code blocks, links and paths. The convention: README.md beside this file."""
