"""What reads the array of a copilot chat as rows, in SQL: 0007 makes it, and 0021 anew where an older one is there."""

# What a ``timestamp`` means, or null: ISO 8601, as UTC where it names no zone, in the years that Python can read.
# PostgreSQL 15 cannot ask whether a text is a time; a cast that fails would end the whole statement. To catch that is
# more than a parallel plan of PostgreSQL 15 bears.
TIME = r"""
CREATE OR REPLACE FUNCTION copilot_time(given text) RETURNS timestamptz
LANGUAGE plpgsql STABLE PARALLEL UNSAFE AS $$
DECLARE
    found timestamptz;
BEGIN
    IF given !~* '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.]\d{1,9})?)?)?( ?(Z|[+-]\d\d(:?\d\d)?))?$'
       OR given LIKE '0000%' THEN
        RETURN NULL;
    END IF;
    IF given ~ '^.{10}$' THEN
        RETURN (given || 'T00:00Z')::timestamptz;
    END IF;
    found := CASE WHEN given ~* '(Z|[+-]\d\d(:?\d\d)?)$' THEN given ELSE given || 'Z' END;
    -- Its zone may carry it into the year 10000, or into the one before the first.
    RETURN CASE WHEN found >= '0001-01-01T00:00Z' AND found < '10000-01-01T00:00Z' THEN found END;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END $$
"""

# The elements of a chat's array as the mirror takes them, in order, ``idx`` from 0. ``message_id`` is null where the
# element can be no row (it is no object); an id that is missing, empty or too long for an index is made out of the
# content, so that it is the same in every run; from the second on that say the same, it tells which one it is. What is
# no array and not empty, as JSON that was encoded twice, is one element that can be no row. ``problem`` says what is
# wrong with an element, in the order looked for. Elements that repeat an earlier id are among them: the first counts.
#
# Read for every element of every chat, so each thing is worked out once: ``OFFSET 0`` keeps the planner from writing an
# inner expression out wherever it is used, and ``#> '{}'`` unpacks an array that is stored compressed once and not
# twice. A time as JavaScript writes it is told by its shape, at a fifth of the cost of asking ``copilot_time``: numbers
# and separators in turn, in the places of the first ``LIKE``, each number in its range (days to 28: those of every
# month). ``LIKE`` costs a twentieth of what cutting a number out costs. The elements without an id are counted in a
# pass of their own, which all pay an eighth for: a window over all would hold their contents, too.
HAS_ID = """coalesce(jsonb_typeof({value} -> 'id') IN ('string', 'number')
                            AND octet_length({id}) BETWEEN 1 AND 1000, false)"""
ELEMENTS = rf"""
CREATE OR REPLACE FUNCTION copilot_elements(messages jsonb, fallback timestamptz)
RETURNS TABLE (idx int, message_id text, role text, content jsonb, created_at timestamptz, problem text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 100 AS $$
    SELECT t.idx,
           CASE WHEN NOT t.is_object THEN NULL WHEN t.has_id THEN t.id
                ELSE 'made-' || md5(t.value::text) || coalesce('-' || (t.again ->> t.idx::text), '') END,
           CASE WHEN t.has_role THEN t.role ELSE 'unknown' END,
           t.value,
           coalesce(t.said_at, fallback),
           CASE WHEN NOT t.is_array THEN 'no_array'
                WHEN NOT t.is_object THEN 'no_object'
                WHEN NOT t.has_id THEN 'no_id'
                WHEN NOT t.has_role THEN 'no_role'
                WHEN t.said_at IS NULL THEN 'no_time' END
      FROM (SELECT e.idx, e.value, e.id, e.role, e.is_array, e.again,
                   e.is_array AND jsonb_typeof(e.value) = 'object' AS is_object,
                   {HAS_ID.format(value="e.value", id="e.id")} AS has_id,
                   coalesce(jsonb_typeof(e.value -> 'role') = 'string'
                            AND octet_length(e.role) BETWEEN 1 AND 64, false) AS has_role,
                   CASE WHEN e.stamp LIKE '____-__-__T__:__:__.___Z' AND e.stamp ~ '^(?:[0-9][0-9]+[-T:.Z])+$'
                             AND e.stamp LIKE ANY ('{{_____0%,_____10%,_____11%,_____12%}}')
                             AND e.stamp LIKE ANY ('{{________0%,________1%,________2%}}')
                             AND e.stamp LIKE ANY ('{{___________0%,___________1%,___________20%,___________21%,
                                                     ___________22%,___________23%}}')
                             AND e.stamp NOT LIKE ALL ('{{0%,_____00%,________00%,________29%,
                                 ______________6%,______________7%,______________8%,______________9%,
                                 _________________6%,_________________7%,_________________8%,_________________9%}}')
                        THEN e.stamp::timestamptz ELSE copilot_time(e.stamp) END AS said_at
              FROM (SELECT (a.place - 1)::int AS idx, a.value, a.value ->> 'id' AS id, a.value ->> 'role' AS role,
                           a.value ->> 'timestamp' AS stamp, m.is_array, made.again
                      FROM (SELECT messages #> '{{}}' AS given OFFSET 0) AS whole
                     CROSS JOIN LATERAL (
                           SELECT jsonb_typeof(given) = 'array' AS is_array,
                                  CASE WHEN jsonb_typeof(given) = 'array' THEN given
                                       WHEN given IN ('null', '{{}}', '""') THEN '[]'
                                       ELSE jsonb_build_array(given) END AS elements
                           OFFSET 0) AS m
                     CROSS JOIN LATERAL (
                           SELECT jsonb_object_agg(n.idx, n.number) FILTER (WHERE n.number > 1) AS again
                             FROM (SELECT b.place - 1 AS idx,
                                          row_number() OVER (PARTITION BY b.value::text ORDER BY b.place) AS number
                                     FROM jsonb_array_elements(m.elements) WITH ORDINALITY AS b (value, place)
                                    WHERE NOT {HAS_ID.format(value="b.value", id="b.value ->> 'id'")}
                                      AND jsonb_typeof(b.value) = 'object') AS n
                           OFFSET 0) AS made
                     CROSS JOIN LATERAL jsonb_array_elements(m.elements) WITH ORDINALITY AS a (value, place)
                    OFFSET 0) AS e
            OFFSET 0) AS t
$$
"""
