"""Storage of clients' and operators' files: the disk, or a private S3-compatible bucket."""
