-- Takes a store of format 1 over: its documents, its entries and its newest timestamp. Snapshots
-- before that are gone. Run before `schema.sql` is, and after it.

-- name: before
ALTER TABLE meta RENAME TO meta_1;
ALTER TABLE documents RENAME TO documents_1;
ALTER TABLE entries RENAME TO entries_1;
DROP TABLE documents_history;
DROP TABLE entries_history;

-- name: after
INSERT INTO documents (document, since, value)
SELECT row_number() OVER (ORDER BY table_id, key), 0, value FROM documents_1 WHERE table_id > 0;

INSERT INTO entries (index_id, key, document, since)
SELECT 2 * table_id, key, row_number() OVER (ORDER BY table_id, key), 0
FROM documents_1 WHERE table_id > 0;

INSERT INTO entries (index_id, key, document, since)
SELECT o.index_id, o.key, e.document, 0 FROM entries_1 AS o
CROSS JOIN entries AS e ON e.index_id = by_id_of(o.key) AND e.key = id_key_of(o.key)
WHERE o.index_id > 0;

-- A group without commits: x'90' is an empty list.
INSERT INTO groups (ts, document, superseded, removed, history_bytes, commits)
SELECT ts, (SELECT coalesce(max(document), 0) FROM documents), 0, 0, 0, x'90'
FROM commits ORDER BY ts DESC LIMIT 1;
UPDATE meta SET value = (SELECT coalesce(max(ts), 0) FROM commits) WHERE name = 'history_floor';

DROP TABLE meta_1;
DROP TABLE documents_1;
DROP TABLE entries_1;
DROP TABLE commits;
