-- What `policyd validate` compares rows by: rates as numbers, and the names that stand above a domain.

create function policy.per_second(rate text) returns numeric
  language sql immutable parallel safe
  return case when policy.is_rate(rate) then
    translate(substring(rate from '^(?:local:)?([0-9_,]+)/'), '_,', '')::numeric
    / coalesce(nullif(substring(rate from '/(\d*)'), ''), '1')::numeric
    / case substring(rate from '/\d*([a-z])') when 's' then 1 when 'm' then 60 when 'h' then 3600 else 86400 end
  end;
comment on function policy.per_second(text) is 'How many a second a rate allows: 0.5 of 30/m; null for what is none.';

create function policy.wildcards_above(domain text) returns text[]
  language sql immutable parallel safe
begin atomic
  select array(
      select '*.' || array_to_string(l.labels[n.first:], '.') from generate_series(2, cardinality(l.labels)) as n (first)
      order by n.first) || case when domain = '*' then '{}' else array['*'] end
  from (select string_to_array(regexp_replace(domain, '^\*\.', ''), '.') as labels) as l;
end;
comment on function policy.wildcards_above(text) is
  'The wildcards that would answer for a domain, nearest first: of a.b.c, *.b.c, *.c and *; so that one index look-up finds a row.';
