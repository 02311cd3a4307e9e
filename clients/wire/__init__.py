"""What simulated clients send and read: lean HTTP/1.1, event streams, documents."""
