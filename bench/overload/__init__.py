"""The overload lab: each discipline under more load than the capacity."""
