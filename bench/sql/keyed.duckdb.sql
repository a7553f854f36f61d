CREATE TABLE sums AS
SELECT key, CAST(sum(number) AS UBIGINT) AS number
FROM read_csv('${INPUT}', columns = {'key': 'UBIGINT', 'number': 'UBIGINT'}, header = false)
GROUP BY key
