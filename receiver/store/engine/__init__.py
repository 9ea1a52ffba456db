"""What is specific to a database: opening, locking, migrations, upkeep, copies.

The SQL of the store's other modules runs on SQLite and on PostgreSQL.
"""
