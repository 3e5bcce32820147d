-- What text indexes hold, beside their entries. Their words are in a table of FTS5's for each index,
-- `text_` and its id, under the numbers of documents: it says which texts have which words, how often.
--
-- What is current only. Whoever reads at an older timestamp lays over it what has changed since: new
-- texts are found by `since`, those that went by the history of entries.
CREATE TABLE texts (
  index_id INTEGER NOT NULL, document INTEGER NOT NULL, since INTEGER NOT NULL,
  created REAL NOT NULL, id TEXT NOT NULL, words INTEGER NOT NULL,
  PRIMARY KEY (index_id, document)
) WITHOUT ROWID;
CREATE INDEX texts_by_since ON texts (index_id, since);

-- How many texts an index has, and how many words they have. There is a row where there are tables.
CREATE TABLE text_totals (
  index_id INTEGER PRIMARY KEY, documents INTEGER NOT NULL, words INTEGER NOT NULL
);
