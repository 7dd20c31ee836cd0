"""Where examples, plain text and published scores come from."""
