"""One of two servers over a store is killed under load: what clients see of it."""
