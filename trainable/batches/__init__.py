"""From the cache to the network: crops, how they are distorted, and in which order they come."""
