CREATE TABLE sums AS
SELECT word AS key, count(*) AS number
FROM (
    SELECT unnest(string_split(line, ' ')) AS word
    FROM read_csv('${INPUT}', columns = {'line': 'VARCHAR'}, header = false, delim = '\t', quote = '', escape = '')
)
GROUP BY word
