-- What the log says of a stretch of history: each row's first image in it and its last.

-- "C", so that a prefix is a range: queue/gmail.com/… of queue/gmail.com.
alter table policy.change add constraint a_row_is_part_of_one_document check (op = 'floor' or cardinality(tags) = 1);
create index change_tag on policy.change ((tags[1]) collate "C");

create function policy.hashes() returns text[] language sql immutable parallel safe
  return array['sha256', 'password_hash'];
comment on function policy.hashes() is 'The columns that the log never holds: what a token or a password was can be told from no row of it.';

create function policy.logged_columns(target oid) returns text[]
  language sql stable
begin atomic
  select array_agg(a.attname::text order by a.attnum)
  from pg_catalog.pg_attribute as a
  where a.attrelid = target and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    and a.attname <> all (policy.hashes());
end;
comment on function policy.logged_columns(oid) is 'The columns of a table that its rows are logged with.';

create function policy.typed(target oid, names text[]) returns text
  language sql stable
begin atomic
  select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
  from pg_catalog.pg_attribute as a where a.attrelid = target and a.attname = any (names);
end;
comment on function policy.typed(oid, text[]) is 'Columns with their types, as jsonb_to_record wants them: name text, weight integer.';

create function policy.same_key(target oid, one text, other text) returns text
  language sql stable
begin atomic
  select string_agg(format('%I.%I = %I.%I', one, k.name, other, k.name), ' and ')
  from unnest(policy.key_columns(target)) as k (name);
end;
comment on function policy.same_key(oid, text, text) is 'The condition that two rows of a table have one key.';

create function policy.defaults(target oid) returns jsonb
  language plpgsql stable set search_path = '' as $$
declare
  said text := (
    select string_agg(format('%s::%s as %I', coalesce(pg_get_expr(d.adbin, d.adrelid), 'null'),
      -- A domain that refuses null has no null to begin with.
      format_type(coalesce(nullif(t.typbasetype, 0), t.oid), null), a.attname), ', ')
    from pg_catalog.pg_attribute as a
    join pg_catalog.pg_type as t on t.oid = a.atttypid
    left join pg_catalog.pg_attrdef as d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = target and a.attname = any (policy.logged_columns(target)));
  found jsonb;
begin
  execute format('select to_jsonb(r) from (select %s) as r', said) into found;
  return found;
end $$;
comment on function policy.defaults(oid) is 'What a row of a table holds that says nothing: rows that were logged before there was a column get this.';

create function policy.current_rows(target regclass, keys jsonb[])
  returns table (key jsonb, record jsonb)
  language plpgsql stable set search_path = '' as $$
declare
  columns text := (select string_agg(format('t.%I', c), ', ') from unnest(policy.logged_columns(target)) as c);
begin
  return query execute format(
    'select k.key, (select to_jsonb(r) from (select %s) as r) from unnest($1) as k (key) '
    'cross join lateral jsonb_to_record(k.key) as p (%s) join %s as t on %s',
    columns, policy.typed(target, policy.key_columns(target)), target, policy.same_key(target, 't', 'p')) using keys;
end $$;
comment on function policy.current_rows(regclass, jsonb[]) is 'Those of the rows with these keys that a table has now, without hashes.';

create function policy.as_rows(target regclass, records jsonb[]) returns jsonb[]
  language plpgsql stable set search_path = '' as $$
declare
  found jsonb[];
begin
  execute format(
    'select array(select (select to_jsonb(p) from jsonb_to_record($2 || r.record) as p (%s) where r.record is not null) '
    'from unnest($1) with ordinality as r (record, place) order by r.place)',
    policy.typed(target, policy.logged_columns(target))) into found using records, policy.defaults(target);
  return found;
end $$;
comment on function policy.as_rows(regclass, jsonb[]) is
  'Logged images as the table would show them now: its columns of today, and times in this session''s time zone.';

create type policy.net_change as (
  "table" text,
  key jsonb,
  tag text,
  before jsonb,
  after jsonb,
  hashed boolean
);
comment on type policy.net_change is
  'What a stretch of history made of one row: as it was before (null: it was not there) and after; and whether it got another hash.';

create function policy.net_changes(first bigint, last bigint, wanted text[] default null) returns setof policy.net_change
  language sql stable
begin atomic
  -- What was seen of private keys is no policy, but documents hold it.
  select c."table", c.key, min(c.tags[1]),
         (array_agg(c.old order by c.revision, c.ordinal))[1] - policy.hashes(),
         (array_agg(c.new order by c.revision desc, c.ordinal desc))[1] - policy.hashes(),
         bool_or(c.op = 'delete' or coalesce(c.old, '{}') ?| policy.hashes() or coalesce(c.new, '{}') ?| policy.hashes())
  from policy.change as c
  where c.revision between first and last and c.op <> 'floor' and (wanted is null or c.tags[1] collate "C" = any (wanted))
  group by c."table", c.key;
end;
comment on function policy.net_changes(bigint, bigint, text[]) is
  'What the revisions from the first to the last made of each row (of these documents alone, if any are named).';

create function policy.check_told(first bigint, last bigint) returns void
  language plpgsql stable set search_path = '' as $$
declare
  head bigint := (select r.number from policy.revision as r order by r.number desc limit 1);
  gone bigint := (select w.pruned_to from policy.log_window as w);
begin
  if first is null or first < 1 or last > head then
    raise exception using
      errcode = 'invalid_parameter_value',
      message = case when head = 0 then 'there is no revision yet'
        else format('there is no revision %s: they go from 1 to %s', case when last > head then last else coalesce(first, 0) end, head) end;
  elsif last < first then
    raise exception using
      errcode = 'invalid_parameter_value',
      message = format('revision %s is later than %s: the earlier one comes first', first, last);
  elsif first <= gone then
    raise exception using
      errcode = 'object_not_in_prerequisite_state', schema = 'policy', table = 'change',
      constraint = 'what_was_pruned_cannot_be_told',
      message = format('what revision %s changed is not known any more: the log was pruned up to revision %s', first, gone),
      hint = 'history.keep in the configuration says how long changes are kept; older ones are in your backups.';
  end if;
end $$;
comment on function policy.check_told(bigint, bigint) is 'Refuses revisions that are not there, or that the log does not tell of any more.';
