"""The hooks of the decoder, by the kind of value: each accepts exactly one kind, and coerces nothing."""
