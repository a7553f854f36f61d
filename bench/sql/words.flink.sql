CREATE TABLE input (line STRING)
WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'raw');

CREATE TABLE sums (`key` STRING, number BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${OUTPUT}', 'format' = 'csv');

INSERT INTO sums
SELECT word, count(*)
FROM input CROSS JOIN UNNEST(SPLIT(line, ' ')) AS words (word)
GROUP BY word
