"""Tables of numbers with one row a subject, such as embeddings, that become vector conditions of a model."""
