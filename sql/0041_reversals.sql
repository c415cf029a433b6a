-- What it takes to take revisions back, and what stands in the way. Nothing here changes a row.

create type policy.reversal as (
  "table" text,
  key jsonb,
  op text,
  now jsonb,
  becomes jsonb,
  obstacle text,
  possible boolean
);
comment on type policy.reversal is
  'What taking revisions back does to one row: insert, update or delete; what it is now and becomes; and what stands in the
way, if something does, which force overwrites if that is possible, and else leaves as it is.';

create function policy.foreign_keys()
  returns table (child regclass, parent regclass, cascades boolean, child_columns text[], parent_columns text[])
  language sql stable
begin atomic
  select k.conrelid, k.confrelid, k.confdeltype = 'c',
         array(select a.attname::text from unnest(k.conkey) with ordinality as c (number, place)
               join pg_catalog.pg_attribute as a on a.attrelid = k.conrelid and a.attnum = c.number order by c.place),
         array(select a.attname::text from unnest(k.confkey) with ordinality as c (number, place)
               join pg_catalog.pg_attribute as a on a.attrelid = k.confrelid and a.attnum = c.number order by c.place)
  from pg_catalog.pg_constraint as k
  where k.contype = 'f' and k.connamespace = (select n.oid from pg_catalog.pg_namespace as n where n.nspname = 'policy')
    and k.conrelid <> k.confrelid;
end;
comment on function policy.foreign_keys() is
  'Which rows of a table need which of another one, and whether they go with them.';

create function policy.depth(target oid) returns integer
  language sql stable
begin atomic
  with recursive above (parent, depth) as (
    select target::oid, 0
    union
    select k.parent::oid, a.depth + 1 from above as a join policy.foreign_keys() as k on k.child::oid = a.parent)
  select max(a.depth) from above as a;
end;
comment on function policy.depth(oid) is 'How many tables stand above one: rows are made from above and removed from below.';

create function policy.parent_key(record jsonb, child_columns text[], parent_columns text[]) returns jsonb
  language sql immutable parallel safe
begin atomic
  select case when bool_and(record -> c.child <> 'null') then jsonb_object_agg(c.parent, record -> c.child) end
  from unnest(child_columns, parent_columns) as c (child, parent);
end;
comment on function policy.parent_key(jsonb, text[], text[]) is 'The key of the row that a row needs, or null if it needs none.';

create function policy.lets_in(target text, old jsonb, new jsonb) returns boolean
  language sql stable parallel safe
  return case when target in ('api_token', 'smtp_credential') then
    (new -> 'enabled' = 'true' and old -> 'enabled' <> 'true')
    or (old ->> 'expires_at' is not null
        and (new ->> 'expires_at')::timestamptz > (old ->> 'expires_at')::timestamptz is not false)
    or not coalesce(new -> 'scopes' <@ (old -> 'scopes'), true)
    or exists (
      select from unnest(array['networks', 'domains']) as c (name)
      where old ->> c.name is not null and (new -> c.name <@ (old -> c.name)) is not true)
  else false end;
comment on function policy.lets_in(text, jsonb, jsonb) is
  'True where a token or credential lets somebody in who could not get in before: enabled, for longer, from elsewhere, to more.';

create function policy.told_since(target text, key jsonb, tag text, after bigint) returns text
  language sql stable
begin atomic
  select format('in revision %s, by %s', c.revision, coalesce(r.claimed_actor, r.actor))
  from policy.change as c join policy.revision as r on r.number = c.revision
  where c.tags[1] collate "C" = told_since.tag and c."table" = target and c.key = told_since.key and c.revision > after
  order by c.revision desc limit 1;
end;
comment on function policy.told_since(text, jsonb, text, bigint) is 'Which revision changed a row last after one, and whose it is; null if none did.';

create function policy.differing(one jsonb, other jsonb) returns text
  language sql immutable parallel safe
begin atomic
  select string_agg(e.key, ', ' order by e.key)
  from jsonb_each(one) as e (key, value) where e.value::text is distinct from (other -> e.key)::text;
end;
comment on function policy.differing(jsonb, jsonb) is 'The columns in which two rows differ.';

create function policy.reversals_of(target regclass, net policy.net_change[], last bigint) returns setof policy.reversal
  language plpgsql stable set search_path = '' as $$
declare
  name text := (select c.relname from pg_catalog.pg_class as c where c.oid = target);
  columns text[] := policy.logged_columns(target);
  lets_in boolean := name in ('api_token', 'smtp_credential');
begin
  return query
  -- Compared as text, because in jsonb 5 and 5.0 are one value, and for KumoMTA they are two. `offset 0` keeps what is
  -- used several times from being made several times.
  select name, r.key, r.op, r.now, r.becomes,
    case r.reason
      when 'lost' then 'was logged with columns that its table does not have any more'
      when 'hash' then 'what it let in with is not in the log, and does not come back'
      when 'lets in' then 'would let in what is not let in now'
      else r.reason || ' ' || concat_ws(' ', coalesce(r.since, 'unseen by the log'), '(' || policy.differing(r.shown, r.now) || ')')
    end, coalesce(r.reason not in ('lost', 'hash', 'lets in'), true)
  from (
    select x.key, x.now, x.becomes, x.shown, x.op, s.since,
      case
        when x.lost then 'lost'
        when lets_in and x.before is not null and (x.now is null or x.hashed) then 'hash'
        when lets_in and policy.lets_in(name, x.now, x.becomes) then 'lets in'
        when x.same and s.since is null then null
        when x.now is null then 'was removed'
        when x.shown is null then 'was made again'
        else 'was changed'
      end as reason
    from (
      select n.key, n.tag, n.before, n.hashed, n.shown, c.record as now,
        n.shown::text is not distinct from c.record::text as same,
        case when n.before is null then 'delete' when c.record is null then 'insert' else 'update' end as op,
        -- A column that the log did not know yet stays as it is.
        case when c.record is null or n.before ?& columns then n.wanted
             else n.wanted || (c.record - array(select jsonb_object_keys(n.before))) end as becomes,
        n.before - columns <> '{}' and exists (
          select from jsonb_each(jsonb_strip_nulls(n.before)) as e (key, value)
          where e.key <> all (columns) and e.value::text is distinct from (n.after -> e.key)::text) as lost
      from unnest(net, policy.as_rows(target, array(select k.before from unnest(net) as k)),
                       policy.as_rows(target, array(select k.after from unnest(net) as k)))
        as n ("table", key, tag, before, after, hashed, wanted, shown)
      left join policy.current_rows(target, array(select k.key from unnest(net) as k)) as c on c.key = n.key
      offset 0) as x
    cross join lateral (
      select policy.told_since(name, x.key, x.tag, last) as since where lets_in or not x.same
      union all
      select null where x.same and not lets_in) as s
    where x.becomes::text is distinct from x.now::text or x.lost or lets_in and x.hashed and x.before is not null offset 0) as r;
end $$;
comment on function policy.reversals_of(regclass, policy.net_change[], bigint) is
  'What taking back net changes does to the rows of a table, as far as each row can be judged alone.';

create function policy.marked(plan policy.reversal[], target text, keys jsonb[], obstacles text[], passable boolean)
  returns policy.reversal[]
  language sql stable
begin atomic
  select array_agg(
    case when m.obstacle is null or r.obstacle is not null and (passable or not r.possible) then r
    else row(r."table", r.key, r.op, r.now, r.becomes, m.obstacle, passable)::policy.reversal end)
  from unnest(plan) as r
  left join unnest(keys, obstacles) as m (key, obstacle) on r."table" = target and m.key = r.key;
end;
comment on function policy.marked(policy.reversal[], text, jsonb[], text[], boolean) is
  'A plan with an obstacle before some rows of a table; of two the one stays that force cannot pass.';

create function policy.with_needs(plan policy.reversal[]) returns policy.reversal[]
  language plpgsql stable set search_path = '' as $$
declare
  needed record;
  wanted jsonb[];
  missing jsonb[];
begin
  for needed in
    select k.*, c.relname as child_name, p.relname as parent_name
    from policy.foreign_keys() as k
    join pg_catalog.pg_class as c on c.oid = k.child join pg_catalog.pg_class as p on p.oid = k.parent
    where exists (select from unnest(plan) as r where r."table" = c.relname and r.op in ('insert', 'update'))
  loop
    wanted := array(
      select distinct policy.parent_key(r.becomes, needed.child_columns, needed.parent_columns) from unnest(plan) as r
      where r."table" = needed.child_name and r.op in ('insert', 'update') and r.possible);
    missing := array(
      select w from unnest(wanted) as w where w is not null
      except (select c.key from policy.current_rows(needed.parent, wanted) as c
              except select r.key from unnest(plan) as r where r."table" = needed.parent_name and r.op = 'delete' and r.possible)
      except select r.key from unnest(plan) as r where r."table" = needed.parent_name and r.op = 'insert' and r.possible);
    continue when missing = '{}';
    select policy.marked(plan, needed.child_name, array_agg(r.key), array_agg(
        format('needs policy.%s, %s, which is not there', needed.parent_name, policy.described(needed.parent, m.key))), false)
      into plan
    from unnest(missing) as m (key)
    join unnest(plan) as r on r."table" = needed.child_name and r.op in ('insert', 'update') and r.possible
      and policy.parent_key(r.becomes, needed.child_columns, needed.parent_columns) = m.key;
  end loop;
  return plan;
end $$;
comment on function policy.with_needs(policy.reversal[]) is 'A plan with an obstacle before each row that needs one which will not be there.';

create function policy.users(child regclass, parent regclass, child_columns text[], parent_columns text[], keys jsonb[])
  returns table (key jsonb, used jsonb)
  language plpgsql stable set search_path = '' as $$
begin
  return query execute format(
    'select jsonb_build_object(%s), g.key from unnest($1) as g (key) '
    'cross join lateral jsonb_to_record(g.key) as p (%s) join %s as t on %s',
    (select string_agg(format('%L, t.%I', k, k), ', ') from unnest(policy.key_columns(child)) as k),
    policy.typed(parent, parent_columns), child,
    (select string_agg(format('t.%I = p.%I', c.child, c.parent), ' and ') from unnest(child_columns, parent_columns) as c (child, parent)))
    using keys;
end $$;
comment on function policy.users(regclass, regclass, text[], text[], jsonb[]) is 'The rows of a table that need rows of another one, by the keys of both.';

create function policy.with_users(plan policy.reversal[]) returns policy.reversal[]
  language plpgsql stable set search_path = '' as $$
declare
  used record;
  gone jsonb[];
  held jsonb[];
  sentences text[];
begin
  for used in
    select k.*, c.relname as child_name, p.relname as parent_name,
           case when k.cascades then '%s would go with it' else 'is still used by %s' end as sentence
    from policy.foreign_keys() as k
    join pg_catalog.pg_class as c on c.oid = k.child join pg_catalog.pg_class as p on p.oid = k.parent
  loop
    gone := array(select r.key from unnest(plan) as r where r."table" = used.parent_name and r.op = 'delete' and r.possible);
    continue when gone = '{}';
    select array_agg(u.used), array_agg(u.sentence) into held, sentences
    from (
      select u.used, format(used.sentence, format('policy.%s, %s', used.child_name, min(policy.described(used.child, u.key)))
             || case when count(*) > 1 then format(' and %s more', count(*) - 1) else '' end) as sentence
      from (select x.key, x.used from policy.users(used.child, used.parent, used.child_columns, used.parent_columns, gone) as x
            except select r.key, x.used from unnest(plan) as r
            join policy.users(used.child, used.parent, used.child_columns, used.parent_columns, gone) as x on x.key = r.key
            where r."table" = used.child_name and r.op in ('update', 'delete') and r.possible) as u
      group by u.used) as u;
    if held is not null then
      plan := policy.marked(plan, used.parent_name, held, sentences, used.cascades);
    end if;
  end loop;
  return plan;
end $$;
comment on function policy.with_users(policy.reversal[]) is
  'A plan with an obstacle before each row that is to go and that others need, or that takes others with it.';

create function policy.reversals(first bigint, last bigint default null) returns setof policy.reversal
  language plpgsql stable set search_path = '' as $$
declare
  until bigint := coalesce(last, first);
  plan policy.reversal[];
  each record;
  known bigint;
begin
  perform policy.check_told(first, until);
  plan := array(
    select row(null, null, null, null, null, format('revision %s said that all of %s had changed unseen by the log (%s)',
      c.revision, c.kind, r.reason), true)::policy.reversal
    from policy.change as c join policy.revision as r on r.number = c.revision
    where c.op = 'floor' and c.revision between first and until order by c.revision);
  for each in
    select n."table" as name, to_regclass('policy.' || quote_ident(n."table")) as target, array_agg(n) as net
    from policy.net_changes(first, until) as n where n."table" <> 'dkim_key_seen' group by n."table" order by n."table"
  loop
    plan := plan || case
      when each.target is null then array[row(each.name, null, null, null, null, 'the table is not there any more', false)::policy.reversal]
      else array(select r from policy.reversals_of(each.target, each.net, until) as r) end;
  end loop;
  loop
    known := (select count(*) from unnest(plan) as r where not r.possible);
    plan := policy.with_users(policy.with_needs(plan));
    exit when known = (select count(*) from unnest(plan) as r where not r.possible);
  end loop;
  return query select r.* from unnest(plan) as r;
end $$;
comment on function policy.reversals(bigint, bigint) is
  'What policy.revert would do, row by row, and what stands in the way. Nothing is changed.';
