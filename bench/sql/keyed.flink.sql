CREATE TABLE input (`key` BIGINT, number BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${INPUT}', 'format' = 'csv');

CREATE TABLE sums (`key` BIGINT, number BIGINT)
WITH ('connector' = 'filesystem', 'path' = '${OUTPUT}', 'format' = 'csv');

INSERT INTO sums
SELECT `key`, sum(number)
FROM input
GROUP BY `key`
