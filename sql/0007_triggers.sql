-- The triggers of every table of policy, in the order of their names:
--   t000_claim          before the statement: this transaction's turn; t000_refuse_truncate
--   t050_keep           before a row: rows that must stay (made by the tables that have them)
--   t100_check_options  after the statement: options that KumoMTA would refuse, or an older node would
--   t300_guard          after the statement: mass changes by accident
--   t400_warn           after the statement: changes that will not do what was meant
--   t500_log            after the statement: the log and the notification
-- A trigger with transition tables serves one event, hence the suffixes.

create function policy.key_columns(target oid) returns text[]
  language sql stable
begin atomic
  select array_agg(a.attname::text order by k.position)
  from pg_catalog.pg_index as i
  cross join lateral unnest(i.indkey::smallint[]) with ordinality as k (attnum, position)
  join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.attnum
  where i.indrelid = target and i.indisprimary;
end;
comment on function policy.key_columns(oid) is 'The columns of a table''s primary key, in order.';

create function policy.described(target oid, fields jsonb) returns text
  language sql stable
begin atomic
  select string_agg(format('%s %s', k.name, quote_literal(fields ->> k.name)), ', ' order by k.position)
  from unnest(policy.key_columns(target)) with ordinality as k (name, position);
end;
comment on function policy.described(oid, jsonb) is 'The key of a row for a sentence: domain ''example.com'', tenant ''acme''.';

create function policy.may_restricted(target oid) returns boolean
  language sql stable
begin atomic
  select exists (
    select from pg_catalog.pg_roles as r
    where (r.rolname = 'policyd_owner' or r.oid = (select c.relowner from pg_catalog.pg_class as c where c.oid = target))
      and pg_has_role(r.oid, 'usage'));
end;
comment on function policy.may_restricted(oid) is
  'True for who is a member of policyd_owner, or of the role that owns the table: they may use restricted options.';

create function policy.faults(target oid, object text, records text[])
  returns table (record text, field text, problem text)
  language sql stable
begin atomic
  select r.record, p.field, p.problem
  from unnest(records) as r (record), policy.problems(faults.object, r.record::jsonb) as p
  union all
  select r.record, u.name, format('%s needs KumoMTA %s; older are: %s.', u.name, o.since, policy.old_nodes(o.since))
  from unnest(records) as r (record), policy.uses(r.record::jsonb) as u (name)
  join policy.option as o on o.object = faults.object and o.name = u.name and o.since is not null
  where policy.old_nodes(o.since) is not null
  union all
  select r.record, u.name, format('%s is restricted (%s): only members of policyd_owner may set it.', u.name, o.note)
  from unnest(records) as r (record), policy.uses(r.record::jsonb) as u (name)
  join policy.option as o on o.object = faults.object and o.name = u.name and o.restricted
  where not policy.may_restricted(target);
end;
comment on function policy.faults(oid, text, text[]) is
  'What stands against records in a table: problems, options newer than a live node, options restricted to others.';

-- A generic plan, because planning takes longer than judging one row.
create function policy.check_options() returns trigger
  language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' set jit = off as $$
declare
  judged text;
  records text[];
  fault record;
begin
  foreach judged in array tg_argv loop
    -- As text, because in jsonb 5 and 5.0 are one value, and KumoMTA takes only the first for an integer. Distinct,
    -- because a hundred thousand rows hold few different records.
    if judged = 'queue_config' then
      records := array(select distinct n.options::text collate "C" from new_rows as n);
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
        from (select n.tag, policy.record(judged, to_jsonb(n))::text from new_rows as n
              except select o.tag, policy.record(judged, to_jsonb(o))::text from old_rows as o) as c (tag, record));
    end if;
    select f.record, f.field, f.problem into fault from policy.faults(tg_relid, judged, records) as f limit 1;
    continue when not found;
    raise exception using
      errcode = 'check_violation', schema = 'policy', table = tg_table_name, column = left(coalesce(fault.field, 'options'), 64),
      constraint = 'options_are_what_kumomta_accepts',
      message = format('policy.%s, %s: %s', tg_table_name, (
        select policy.described(tg_relid, to_jsonb(n)) from new_rows as n
        where policy.record(judged, to_jsonb(n))::text = fault.record limit 1), fault.problem);
  end loop;
  return null;
end $$;
comment on function policy.check_options() is
  't100: refuses what KumoMTA would refuse. Its arguments are the objects that a row stands for.';

create function policy.orphans(target oid) returns text
  language sql stable
begin atomic
  select format('select count(*) from old_rows as o where not exists (select from %s as p where %s)',
    k.confrelid::regclass,
    (select string_agg(format('p.%I = o.%I', f.attname, c.attname), ' and ')
     from unnest(k.conkey, k.confkey) as pair (child, parent)
     join pg_catalog.pg_attribute as c on c.attrelid = k.conrelid and c.attnum = pair.child
     join pg_catalog.pg_attribute as f on f.attrelid = k.confrelid and f.attnum = pair.parent))
  from pg_catalog.pg_constraint as k
  where k.conrelid = target and k.contype = 'f' and k.confdeltype = 'c'
  limit 1;
end;
comment on function policy.orphans(oid) is
  'A query of how many of a trigger''s old_rows lost their parent (the foreign key that cascades); null where there is none.';

create function policy.guard() returns trigger language plpgsql set search_path = '' as $$
declare
  touched bigint := (select count(*) from old_rows);
  cascaded bigint := 0;
  total bigint;
begin
  if touched <= 100 or coalesce(current_setting('policy.allow_mass_change', true), '') <> '' then
    return null;
  end if;
  -- Counted only as far as it matters: a table ten times as long as the change is long enough.
  execute format('select count(*) from (select from %s limit $1) as t', tg_relid::regclass) into total using touched * 10;
  if tg_op = 'DELETE' then
    total := total + touched;
  else
    touched := (select count(*) from (select o from old_rows as o except all select n from new_rows as n) as changed);
  end if;
  if policy.orphans(tg_relid) is not null then
    execute policy.orphans(tg_relid) into cascaded;
  end if;
  touched := touched - cascaded;
  if touched > greatest(100, total / 10.0) then
    raise exception using
      errcode = 'check_violation', schema = 'policy', table = tg_table_name, constraint = 'mass_changes_need_a_reason',
      message = format('this statement would %s %s of the %s rows of policy.%s: more than 100 and more than a tenth',
        lower(tg_op), touched, total, tg_table_name),
      hint = 'If that is meant, say why in the same transaction: set local policy.allow_mass_change = ''<reason>''';
  end if;
  return null;
end $$;
comment on function policy.guard() is
  't300: refuses to update or delete more than 100 rows and a tenth of a table unless policy.allow_mass_change says why.';

create procedure policy.watch(target regclass, variadic objects text[] default '{}')
  language plpgsql set search_path = '' as $$
declare
  -- Where a tag is one row, rows pair by it, which is cheaper than by the key.
  keys text := (
    select format('%L, %s', exists (
             select from pg_catalog.pg_index as i join pg_catalog.pg_attribute as a on a.attrelid = i.indrelid
               and i.indkey::text = a.attnum::text and a.attname = 'tag'
             where i.indrelid = target and i.indisunique), string_agg(quote_literal(k), ', '))
    from unnest(policy.key_columns(target)) as k);
  judged text := (select string_agg(quote_literal(o), ', ') from unnest(objects) as o);
  images text := 'referencing old table as old_rows new table as new_rows';
begin
  execute format('create trigger t000_claim before insert or update or delete on %s '
    'for each statement execute function policy.claim()', target);
  execute format('create trigger t000_refuse_truncate before truncate on %s '
    'for each statement execute function policy.refuse_truncate()', target);
  if judged is not null then
    execute format('create trigger t100_check_options_insert after insert on %s referencing new table as new_rows '
      'for each statement execute function policy.check_options(%s)', target, judged);
    execute format('create trigger t100_check_options_update after update on %s %s '
      'for each statement execute function policy.check_options(%s)', target, images, judged);
  end if;
  execute format('create trigger t300_guard_update after update on %s %s '
    'for each statement execute function policy.guard()', target, images);
  execute format('create trigger t300_guard_delete after delete on %s referencing old table as old_rows '
    'for each statement execute function policy.guard()', target);
  execute format('create trigger t500_log_insert after insert on %s referencing new table as new_rows '
    'for each statement execute function policy.log_change(%s)', target, keys);
  execute format('create trigger t500_log_update after update on %s %s '
    'for each statement execute function policy.log_change(%s)', target, images, keys);
  execute format('create trigger t500_log_delete after delete on %s referencing old table as old_rows '
    'for each statement execute function policy.log_change(%s)', target, keys);
end $$;
comment on procedure policy.watch(regclass, text[]) is
  'Gives a table the triggers of policy. Objects: what of policy.option its rows are judged as, if anything.';
revoke execute on procedure policy.watch(regclass, text[]) from public;

create function policy.keep() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception using
    errcode = 'restrict_violation', schema = 'policy', table = tg_table_name, constraint = 'some_rows_stay', message = tg_argv[0];
end $$;
comment on function policy.keep() is 't050: refuses to delete or rename a row that policy cannot do without; its argument is the message.';
