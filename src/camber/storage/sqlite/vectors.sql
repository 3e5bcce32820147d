-- Vector indexes, and how long the parts of their keys are, in bytes: what is before the direction,
-- the direction, and the key of the id. Besides, each has three tables: `vectors_`, `vector_blocks_` and
-- `vector_data_`, and its id.
--
-- What is current only, as of texts. In `entries` the keys of vectors stand without the directions.
CREATE TABLE vector_indexes (
  index_id INTEGER PRIMARY KEY,
  head_bytes INTEGER NOT NULL, direction_bytes INTEGER NOT NULL, id_bytes INTEGER NOT NULL,
  changed INTEGER NOT NULL
);

-- Numbers the transactions that write vectors: no state of an index or block has the number of another.
INSERT INTO meta VALUES ('vector_writes', 0);
