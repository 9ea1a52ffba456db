-- Which subscription a job of kind deactivate is about, beside its person (subject): the book is asked
-- whether they have joined again. Empty where it has none.
ALTER TABLE jobs ADD COLUMN short_code TEXT;
ALTER TABLE jobs ADD COLUMN service_id TEXT;
UPDATE jobs SET short_code = coalesce(json_extract(CAST(payload AS TEXT), '$.short_code'), ''),
                service_id = coalesce(json_extract(CAST(payload AS TEXT), '$.service_id'), '')
    WHERE kind = 'deactivate' AND payload IS NOT NULL;
