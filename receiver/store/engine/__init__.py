"""SQLite: opening, locking, migrations, upkeep, copies, and the index of people.

Everything specific to SQLite is here. The SQL of the store's other modules runs on PostgreSQL too.
"""
