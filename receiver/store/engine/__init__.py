"""SQLite: opening, locking, migrations, upkeep, copies, and the index of people.

Everything that only SQLite understands is here. All other modules of the store speak SQL that
PostgreSQL understands too.
"""
