"""A model of the whole, from one server to many stores: measured costs, and predictions checked where possible."""
