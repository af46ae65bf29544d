"""Measures models and embeddings."""
