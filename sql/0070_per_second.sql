-- Rates that can be compared: what `policyd validate` needs to find a limit that another one never lets be reached.

create function policy.per_second(rate text) returns numeric
  language sql immutable parallel safe
  return case when policy.is_rate(rate) then
    translate(substring(rate from '^(?:local:)?([0-9_,]+)/'), '_,', '')::numeric
    / coalesce(nullif(substring(rate from '/(\d*)'), ''), '1')::numeric
    / case substring(rate from '/\d*([a-z])') when 's' then 1 when 'm' then 60 when 'h' then 3600 else 86400 end
  end;
comment on function policy.per_second(text) is 'How many a second a rate allows: 0.5 of 30/m; null for what is none.';
