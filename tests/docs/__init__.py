"""Tests of the documents: code blocks, links, paths and reference tables. README.md beside this file explains the
convention."""
