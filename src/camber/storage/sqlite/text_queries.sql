-- Statements about text indexes. `text_N` stands for the FTS5 table of an index, `VALUES (?, ?)` for
-- any number of rows.

-- name: totals
SELECT documents, words FROM text_totals WHERE index_id = ?1

-- name: frequency
SELECT count(*) FROM text_N WHERE text_N MATCH ?1

-- name: first_hits
-- Best first.
SELECT camber_score(text_N, x.words, ?2) AS score, x.created AS created, x.id AS id
FROM text_N CROSS JOIN texts AS x ON x.index_id = ?1 AND x.document = text_N.rowid
WHERE text_N MATCH ?3
ORDER BY score DESC, created DESC, id LIMIT ?4

-- name: hits
-- Those after one hit and up to another. Materialized: else each mention of a score makes it.
WITH found AS MATERIALIZED (
  SELECT camber_score(text_N, x.words, ?2) AS score, x.created AS created, x.id AS id
  FROM text_N CROSS JOIN texts AS x ON x.index_id = ?1 AND x.document = text_N.rowid
  WHERE text_N MATCH ?3
)
SELECT score, created, id FROM found
WHERE (score < ?5 OR (score = ?5 AND (created < ?6 OR (created = ?6 AND id > ?7))))
  AND (score > ?8 OR (score = ?8 AND (created > ?9 OR (created = ?9 AND id <= ?10))))
ORDER BY score DESC, created DESC, id LIMIT ?4

-- name: younger
-- The texts that are there since later than a timestamp.
SELECT created, document FROM texts WHERE index_id = ?1 AND since > ?2

-- name: younger_keys
-- The same by looking at all texts.
SELECT key FROM entries WHERE index_id = ?1 AND since > ?2

-- name: key
SELECT key FROM entries WHERE index_id = ?1 AND key >= ?2 AND key < ?3 AND document = ?4

-- Writing.

-- name: create
CREATE VIRTUAL TABLE text_N USING fts5 (
  filters, words, content = '', contentless_delete = 1, tokenize = 'ascii', prefix = '1 2'
)

-- name: add_totals
INSERT INTO text_totals (index_id, documents, words) VALUES (?1, 0, 0)

-- name: count
UPDATE text_totals SET documents = documents + ?2, words = words + ?3 WHERE index_id = ?1

-- name: there
WITH asked (index_id, document) AS (VALUES (?, ?))
SELECT x.document, x.words
FROM asked AS a CROSS JOIN texts AS x ON x.index_id = a.index_id AND x.document = a.document

-- name: put
INSERT INTO texts (index_id, document, since, created, id, words) VALUES (?, ?, ?, ?, ?, ?)

-- name: put_words
INSERT INTO text_N (rowid, filters, words) VALUES (?, ?, ?)

-- name: delete
WITH gone (index_id, document) AS (VALUES (?, ?))
DELETE FROM texts WHERE (index_id, document) IN (SELECT index_id, document FROM gone)

-- name: delete_words
WITH gone (document) AS (VALUES (?))
DELETE FROM text_N WHERE rowid IN (SELECT document FROM gone)

-- name: clear
DELETE FROM texts WHERE index_id = ?1

-- name: clear_words
INSERT INTO text_N (text_N) VALUES ('delete-all')

-- name: reset_totals
UPDATE text_totals SET documents = 0, words = 0 WHERE index_id = ?1

-- name: drop
DROP TABLE IF EXISTS text_N

-- name: drop_totals
DELETE FROM text_totals WHERE index_id = ?1

-- name: drop_texts
DELETE FROM texts WHERE index_id = ?1
AND document IN (SELECT document FROM texts WHERE index_id = ?1 ORDER BY document LIMIT ?2)

-- Texts that are staged stand under the negative ids of their indexes, and their words in tables of
-- their own.

-- name: staged_indexes
SELECT index_id FROM text_totals WHERE index_id < 0

-- name: staged_keys
SELECT document, key FROM entries WHERE index_id = -?1 ORDER BY document

-- name: take_over
ALTER TABLE text_staged_N RENAME TO text_N

-- name: take_over_texts
INSERT INTO texts (index_id, document, since, created, id, words)
SELECT ?1, document, ?2, created, id, words FROM texts WHERE index_id = -?1

-- name: take_over_totals
UPDATE text_totals SET index_id = ?1 WHERE index_id = -?1
