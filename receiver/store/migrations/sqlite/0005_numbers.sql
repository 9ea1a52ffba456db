-- How far the numbers of this store are brought into their one form (`store.renumbering`), which
-- takes the regions of the configuration: the stage, and the place in it.
INSERT INTO meta (key, value) VALUES ('numbers', '[0,null]');
