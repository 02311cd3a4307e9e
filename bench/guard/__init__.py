"""The guard against getting slower: instruction counts beside bench/baseline.json."""
