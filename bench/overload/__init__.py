"""The overload lab: what each discipline does when more work comes than can be done."""
