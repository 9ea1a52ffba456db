"""The engine of a store in PostgreSQL, which several receivers use."""
