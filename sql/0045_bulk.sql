-- A hundred thousand rows that hold few different records are judged by those few.

create function policy.records_query(target oid, object text) returns text
  language sql stable
begin atomic
  -- Distinct by text, because in jsonb 5 and 5.0 are one value, and KumoMTA takes only the first for an integer.
  select format('select array(select distinct policy.record(%L, to_jsonb(d))::text collate "C" '
                'from (select %s from (select distinct %s from new_rows as n) as n) as d)',
    object,
    string_agg(case when c.is_json then format('n.%1$I::jsonb as %1$I', c.name) else format('n.%I', c.name) end, ', '),
    string_agg(case when c.is_json then format('n.%1$I::text as %1$I', c.name) else format('n.%I', c.name) end, ', '))
  from (
    select a.attname as name, coalesce(nullif(t.typbasetype, 0), t.oid) = 'jsonb'::regtype as is_json
    from pg_catalog.pg_attribute as a join pg_catalog.pg_type as t on t.oid = a.atttypid
    where a.attrelid = target and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
      and a.attname <> all (policy.key_columns(target))) as c;
end;
comment on function policy.records_query(oid, text) is
  'A query of a trigger''s new_rows for the different records that they hold, without their keys, about which nothing is to be judged.';

create or replace function policy.check_options() returns trigger
  language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' set jit = off as $$
declare
  judged text;
  records text[];
  fault record;
  -- Few rows are judged with their keys: to find out which columns those are would take longer.
  keys text[] := case when (select count(*) from (select from new_rows limit 100) as n) = 100
    then policy.key_columns(tg_relid) || 'tag'::text else '{}' end;
begin
  foreach judged in array tg_argv loop
    -- As text, because in jsonb 5 and 5.0 are one value, and KumoMTA takes only the first for an integer. Distinct,
    -- because a hundred thousand rows hold few different records.
    if judged = 'queue_config' then
      records := array(select distinct n.options::text collate "C" from new_rows as n);
    elsif keys <> '{}' then
      execute policy.records_query(tg_relid, judged) into records;
    else
      records := array(
        select distinct policy.record(judged, r.fields)::text collate "C"
        from (select to_jsonb(n) as fields from new_rows as n offset 0) as r);
    end if;
    continue when records <@ '{"{}"}';
    perform from unnest(records) as r (record), policy.problems(judged, r.record::jsonb) limit 1;
    if not found then
      perform from unnest(records) as r (record), policy.uses(r.record::jsonb) as u (name)
        join policy.option as o on o.object = judged and o.name = u.name and (o.restricted or o.since is not null) limit 1;
      continue when not found;
    end if;

    -- What the statement left as it was is not judged again: the catalogue may have become stricter since, or the row
    -- be another's who may set what is restricted.
    if tg_op = 'UPDATE' then
      records := array(
        select distinct c.record
        from (select n.tag, policy.record(judged, to_jsonb(n) - keys)::text from new_rows as n
              except select o.tag, policy.record(judged, to_jsonb(o) - keys)::text from old_rows as o) as c (tag, record));
    end if;
    select f.record, f.field, f.problem into fault from policy.faults(tg_relid, judged, records) as f limit 1;
    continue when not found;
    raise exception using
      errcode = 'check_violation', schema = 'policy', table = tg_table_name, column = left(coalesce(fault.field, 'options'), 64),
      constraint = 'options_are_what_kumomta_accepts',
      message = format('policy.%s, %s: %s', tg_table_name, (
        select policy.described(tg_relid, to_jsonb(n)) from new_rows as n
        where policy.record(judged, to_jsonb(n) - keys)::text = fault.record limit 1), fault.problem);
  end loop;
  return null;
end $$;
