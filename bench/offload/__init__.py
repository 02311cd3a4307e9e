"""Process pools beside each other."""
