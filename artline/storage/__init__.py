"""Storage: digests, chunks, packs, buckets, the catalog, garbage collection. It knows bytes and rows only."""
