"""What models and embeddings are measured by."""
