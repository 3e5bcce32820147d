-- Statements about vector indexes. `N` after a name stands for the id of an index.

-- name: shape
SELECT head_bytes, direction_bytes, id_bytes, changed FROM vector_indexes WHERE index_id = ?1

-- name: blocks
SELECT block, changed FROM vector_blocks_N ORDER BY block

-- name: data
SELECT data FROM vector_data_N WHERE block = ?1

-- name: younger
-- The vectors that are there since later than a timestamp.
SELECT slot FROM vectors_N WHERE since > ?1

-- name: all
SELECT document, slot, since FROM vectors_N ORDER BY slot

-- name: any
SELECT 1 FROM vectors_N LIMIT 1

-- Writing.

-- name: create
-- Where the vector of a document is: the 256 slots of a block are numbered after those of the one before.
CREATE TABLE vectors_N (document INTEGER PRIMARY KEY, slot INTEGER NOT NULL, since INTEGER NOT NULL);
-- Which write was the last to each block, and how many of its slots are in use.
CREATE TABLE vector_blocks_N (
  block INTEGER PRIMARY KEY, changed INTEGER NOT NULL, used INTEGER NOT NULL
);
-- The directions of all slots one after another, then what is before them in their keys, then the
-- keys of their ids. Where no slot is in use, the key is zeros.
CREATE TABLE vector_data_N (block INTEGER PRIMARY KEY, data BLOB NOT NULL)

-- name: index_tables
CREATE INDEX vectors_by_since_N ON vectors_N (since);
CREATE INDEX vector_blocks_with_room_N ON vector_blocks_N (block) WHERE used < 256

-- name: add_index
INSERT INTO vector_indexes (index_id, head_bytes, direction_bytes, id_bytes, changed)
VALUES (?1, ?2, ?3, ?4, 0)

-- name: next_write
UPDATE meta SET value = value + 1 WHERE name = 'vector_writes' RETURNING value

-- name: index_changed
UPDATE vector_indexes SET changed = ?2 WHERE index_id = ?1

-- name: slot
SELECT slot FROM vectors_N WHERE document = ?1

-- name: with_room
SELECT block FROM vector_blocks_N WHERE used < 256 ORDER BY block LIMIT 1

-- name: last_block
SELECT coalesce(max(block), -1) FROM vector_blocks_N

-- name: add_block
INSERT INTO vector_blocks_N (block, changed, used) VALUES (?1, 0, 0)

-- name: add_data
INSERT INTO vector_data_N (block, data) VALUES (?1, zeroblob(?2))

-- name: put
INSERT INTO vectors_N (document, slot, since) VALUES (?1, ?2, ?3)
ON CONFLICT (document) DO UPDATE SET since = excluded.since

-- name: use
UPDATE vector_blocks_N SET changed = ?2, used = used + ?3 WHERE block = ?1 RETURNING used

-- name: delete
DELETE FROM vectors_N WHERE document = ?1

-- name: delete_block
DELETE FROM vector_blocks_N WHERE block = ?1

-- name: delete_data
DELETE FROM vector_data_N WHERE block = ?1

-- What is staged for an index lies in tables of the same form, under its negative id: `S` for `staged_N`.

-- name: staged_indexes
SELECT index_id FROM vector_indexes WHERE index_id < 0

-- name: take_over
DROP INDEX vectors_by_since_S;
DROP INDEX vector_blocks_with_room_S;
ALTER TABLE vectors_S RENAME TO vectors_N;
ALTER TABLE vector_blocks_S RENAME TO vector_blocks_N;
ALTER TABLE vector_data_S RENAME TO vector_data_N

-- name: take_over_since
UPDATE vectors_N SET since = ?1

-- name: take_over_blocks
UPDATE vector_blocks_N SET changed = ?1

-- name: take_over_index
UPDATE vector_indexes SET index_id = ?1, changed = ?2 WHERE index_id = -?1

-- name: drop_data
DELETE FROM vector_data_N WHERE block IN (SELECT block FROM vector_data_N ORDER BY block LIMIT ?1)

-- name: drop
DROP TABLE vectors_N;
DROP TABLE vector_blocks_N;
DROP TABLE vector_data_N

-- name: drop_index
DELETE FROM vector_indexes WHERE index_id = ?1
