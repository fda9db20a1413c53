"""A pretrained backbone as an encoder, and its faster blocks."""
