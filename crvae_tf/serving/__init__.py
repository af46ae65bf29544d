"""Using a trained encoder: export, embed, search."""
