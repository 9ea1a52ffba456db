-- Each kind of value in a column of its own: PostgreSQL has no columns without a type.
CREATE TABLE meta_typed (
    key   TEXT PRIMARY KEY,
    value INTEGER,
    text  TEXT,
    bytes BLOB
) WITHOUT ROWID;
INSERT INTO meta_typed (key, value, text, bytes) SELECT key,
    CASE typeof(value) WHEN 'integer' THEN value END,
    CASE typeof(value) WHEN 'text' THEN value END,
    CASE typeof(value) WHEN 'blob' THEN value END FROM meta;
DROP TABLE meta;
ALTER TABLE meta_typed RENAME TO meta;
