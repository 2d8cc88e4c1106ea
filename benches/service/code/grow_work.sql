-- Copies the tasks of one agent until there are @MANY@, each with a thread of ten messages.
WITH sample AS (SELECT * FROM tasks WHERE agent = '@AGENT@' AND status = 'completed' ORDER BY created_at_ms LIMIT 1),
numbers AS (SELECT generate_series(1, @MANY@) AS number)
INSERT INTO tasks SELECT (jsonb_populate_record(sample, jsonb_build_object(
    'id', 'task_grown' || number, 'root', 'task_grown' || number, 'thread', 'thread_grown' || number,
    'created_at_ms', sample.created_at_ms - number, 'updated_at_ms', sample.updated_at_ms - number))).*
FROM sample, numbers;
WITH sample AS (SELECT * FROM threads WHERE agent = '@AGENT@' ORDER BY created_at_ms LIMIT 1),
numbers AS (SELECT generate_series(1, @MANY@) AS number)
INSERT INTO threads SELECT (jsonb_populate_record(sample, jsonb_build_object(
    'id', 'thread_grown' || number, 'last_message', 10,
    'created_at_ms', sample.created_at_ms - number, 'updated_at_ms', sample.updated_at_ms - number))).*
FROM sample, numbers;
WITH numbers AS (SELECT generate_series(1, @MANY@) AS number), places AS (SELECT generate_series(1, 10) AS place)
INSERT INTO messages (thread, seq, task, role, content, at_ms)
SELECT 'thread_grown' || number, place, 'task_grown' || number, CASE WHEN place % 2 = 1 THEN 'user' ELSE 'assistant' END,
    '{"text":"Line ' || number || ' of ' || place || ': word' || (number % 5000) || ' and word' || (number % 777) || ' on the road."}',
    1764547200000 + number FROM numbers, places;
