-- Taking revisions back: one engine, for psql and for the command.

create function policy.reversed(target regclass, op text, plan policy.reversal[]) returns text
  language sql stable
begin atomic
  -- Only columns that need it: who may not write a column may still take back what others are.
  select case reversed.op
    when 'delete' then format('delete from %s as t using unnest($1) as r (record) cross join lateral jsonb_to_record(r.record) as p (%s) where %s',
      target, k.typed, k.same)
    when 'insert' then format('insert into %s (%s) select %s from unnest($1) as r (record) cross join lateral jsonb_to_record(r.record) as p (%s)',
      target, c.names, c.given, policy.typed(target, c.list))
    when 'update' then format('update %s as t set %s from unnest($1) as r (record) cross join lateral jsonb_to_record(r.record) as p (%s) where %s',
      target, c.assigned, policy.typed(target, c.list || policy.key_columns(target)), k.same)
    end
  from (select policy.typed(target, policy.key_columns(target)) as typed, policy.same_key(target, 't', 'p') as same) as k
  cross join (
    select array_agg(d.name) as list, string_agg(format('%I', d.name), ', ') as names,
           string_agg(format('p.%I', d.name), ', ') as given, string_agg(format('%I = p.%I', d.name, d.name), ', ') as assigned
    from (select distinct e.key as name
          from (select policy.defaults(target) as empty offset 0) as z
          cross join unnest(plan) as r cross join jsonb_each(r.becomes) as e (key, value)
          where e.value::text is distinct from (coalesce(r.now, z.empty) -> e.key)::text
             or reversed.op = 'insert' and e.key = any (policy.key_columns(target))) as d) as c;
end;
comment on function policy.reversed(regclass, text, policy.reversal[]) is
  'The statement that does to a table what a plan says: its rows are the keys to delete, or what becomes of them.';

create function policy.write_reversals(plan policy.reversal[]) returns void
  language plpgsql set search_path = '' as $$
declare
  step record;
  rows policy.reversal[];
begin
  -- First goes what nothing needs, because it may stand in the way of others (two usernames that differ by case); then
  -- changes what needs nothing (settings before the rows that rely on them); then rows come from above, and go from below.
  for step in
    select s.target, s.op
    from (select distinct to_regclass('policy.' || quote_ident(r."table")) as target, r."table" as name, r.op from unnest(plan) as r) as s
    cross join lateral (select policy.depth(s.target) as depth, exists (
      select from policy.foreign_keys() as k where k.parent = s.target) as needed) as d
    order by
      case when s.op = 'delete' and not d.needed then 0 when s.op = 'update' and d.depth = 0 then 1
           when s.op = 'insert' then 2 when s.op = 'update' then 3 else 4 end,
      case when s.op = 'delete' then -d.depth else d.depth end, policy.key_columns(s.target) <> '{singleton}', s.name
  loop
    rows := array(select r from unnest(plan) as r
                  where to_regclass('policy.' || quote_ident(r."table")) = step.target and r.op = step.op);
    execute policy.reversed(step.target, step.op, rows)
      using array(select case when step.op = 'delete' then r.key else r.becomes end from unnest(rows) as r);
  end loop;
  -- What is checked at the end is checked now, while it is known what for.
  set constraints all immediate;
  set constraints all deferred;
end $$;
comment on function policy.write_reversals(policy.reversal[]) is 'Does what a plan says, in the order that foreign keys want.';

create function policy.obstacles(plan policy.reversal[]) returns table (sentence text, possible boolean)
  language sql stable
begin atomic
  select case
      when r."table" is null then r.obstacle
      when r.key is null then format('policy.%s: %s', r."table", r.obstacle)
      else format('policy.%s, %s: %s', r."table",
        policy.described(to_regclass('policy.' || quote_ident(r."table")), r.key), r.obstacle)
    end, r.possible
  from unnest(plan) as r where r.obstacle is not null
  order by r."table" nulls first, r.key;
end;
comment on function policy.obstacles(policy.reversal[]) is
  'What stands in the way of a plan, as sentences, and whether force overwrites it or leaves the row as it is.';

create function policy.refuse_reversal(plan policy.reversal[], named text) returns void
  language plpgsql stable set search_path = '' as $$
declare
  found text[] := array(select o.sentence from policy.obstacles(plan) as o);
begin
  if found <> '{}' then
    raise exception using
      errcode = 'object_not_in_prerequisite_state', schema = 'policy', constraint = 'what_changed_since_is_not_overwritten',
      message = format('revision %s cannot be taken back as it is: %s in the way', named,
        case when cardinality(found) = 1 then 'one thing is' else cardinality(found) || ' things are' end),
      detail = array_to_string(found[:20], e'\n')
        || case when cardinality(found) > 20 then format(e'\n… and %s more', cardinality(found) - 20) else '' end,
      hint = 'Take back what came later as well, or force => true: it overwrites what changed since, leaves what cannot come back as it is, and names both.';
  end if;
end $$;
comment on function policy.refuse_reversal(policy.reversal[], text) is 'Refuses a plan with obstacles, and lists them.';

create function policy.warn_of_reversal(plan policy.reversal[]) returns void
  language plpgsql stable set search_path = '' as $$
declare
  each record;
begin
  for each in select o.*, count(*) over () as total, row_number() over () as place from policy.obstacles(plan) as o loop
    exit when each.place > 100;
    raise warning '%: %', case when each.possible then 'overwritten' else 'left as it is' end, each.sentence;
  end loop;
  if each.total > 100 then
    raise warning '… and % more', each.total - 100;
  end if;
end $$;
comment on function policy.warn_of_reversal(policy.reversal[]) is 'Names what is overwritten or left by force.';

create function policy.revert(first bigint, last bigint default null, reason text default null, force boolean default false)
  returns bigint
  language plpgsql set search_path = '' as $$
declare
  named text := case when last > first then format('%s..%s', first, last) else first::text end;
  plan policy.reversal[];
  head bigint;
  said text := coalesce(current_setting('policy.reason', true), '');
  allowed text := coalesce(current_setting('policy.allow_mass_change', true), '');
begin
  -- Thought of before it is this transaction's turn, because that takes a while for many rows, and again only if
  -- somebody else was quicker.
  select array(select r from policy.reversals(first, last) as r), max(r.number) into plan, head from policy.revision as r;
  perform policy.claim_turn();
  if head < (select max(r.number) from policy.revision as r) then
    plan := array(select r from policy.reversals(first, last) as r);
  end if;
  if force then
    perform policy.warn_of_reversal(plan);
  else
    perform policy.refuse_reversal(plan, named);
  end if;
  plan := array(select r from unnest(plan) as r where r.possible and r.op is not null);
  if plan = '{}' then
    raise notice 'nothing was changed: the rows are as they were before revision %, as far as they can be', first;
    return null;
  end if;
  -- Without a reason of its own a revert is held to the guard as everybody is.
  perform set_config('policy.reason', concat_ws(': ', 'revert of ' || named, nullif(revert.reason, '')), true),
          set_config('policy.allow_mass_change', coalesce(nullif(revert.reason, ''), allowed), true);
  perform policy.write_reversals(plan);
  perform set_config('policy.reason', said, true), set_config('policy.allow_mass_change', allowed, true);
  return (select r.number from policy.revision as r order by r.number desc limit 1);
end $$;
comment on function policy.revert(bigint, bigint, text, boolean) is
  'Takes a revision back, or all from the first to the last, in one new revision, whose number it returns (null: nothing was
to change). Refuses, with a list, where rows changed since, unless force overwrites them; a mass change needs a reason.';

insert into policy.privilege (role, privilege)
select r.role, 'execute on function policy.claim_turn()' from (values ('policyd_owner'), ('policyd_editor')) as r (role);
call policy.grant_access();
