"""Findings: what is wrong now, as sentences that the server derives, each with cause, remedy, and since when.

`watch` keeps the little that a snapshot lacks (windows of totals, since when), `rules` derives.
"""
