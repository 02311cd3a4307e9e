"""The wire of simulated clients: lean HTTP/1.1, event streams, documents."""
