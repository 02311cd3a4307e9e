"""Webhooks: where deliveries may go, how they are signed, and how they are sent."""
