-- Revisions and the change log: what happened to policy, in the order in which it was committed.

create table policy.counter (
  singleton boolean primary key default true constraint there_is_one_counter check (singleton),
  number bigint not null constraint numbers_count_from_zero check (number >= 0),
  xid xid8,
  begun timestamptz
);
comment on table policy.counter is
  'One row, locked by whoever changes policy until it commits: so revisions are numbered in commit order, and writers queue instead of deadlocking.';
comment on column policy.counter.singleton is 'always true';
comment on column policy.counter.number is 'the last revision';
comment on column policy.counter.xid is 'the transaction that took it';
comment on column policy.counter.begun is
  'when that transaction began: a restored database may see the same xid again, but not at the same time';
insert into policy.counter (number) values (0);

create table policy.revision (
  number bigint constraint revision_numbers_are_unique primary key
    constraint numbers_count_from_zero check (number >= 0),
  stamp text not null default left(gen_random_uuid()::text, 8)
    constraint stamp_is_eight_lower_case_hex_digits check (stamp ~ '^[0-9a-f]{8}$'),
  xid xid8,
  actor text not null default session_user,
  claimed_actor text constraint claimed_actor_is_not_empty check (claimed_actor <> ''),
  reason text constraint reason_is_not_empty check (reason <> ''),
  at timestamptz not null default clock_timestamp()
);
comment on table policy.revision is
  'Committed transactions that changed policy. Rows are never deleted: a stamp can always be compared.';
comment on column policy.revision.number is 'place in commit order';
comment on column policy.revision.stamp is 'random: tells this history from another one that reached the same number';
comment on column policy.revision.xid is 'the transaction';
comment on column policy.revision.actor is 'the role that logged in (session_user)';
comment on column policy.revision.claimed_actor is 'who the session said it acted for: set local policy.actor';
comment on column policy.revision.reason is 'why: set local policy.reason, or else policy.allow_mass_change';
comment on column policy.revision.at is 'when it was taken';
insert into policy.revision (number, reason) values (0, 'schema created');

create table policy.change (
  revision bigint not null,
  ordinal bigint generated always as identity,
  "table" text,
  op text not null constraint op_is_insert_update_delete_or_floor check (op in ('insert', 'update', 'delete', 'floor')),
  key jsonb,
  old jsonb,
  new jsonb,
  tags text[] not null,
  kind text,
  constraint changes_are_ordered primary key (revision, ordinal),
  constraint old_is_there_for_update_and_delete check ((old is not null) = (op in ('update', 'delete'))),
  constraint new_is_there_for_insert_and_update check ((new is not null) = (op in ('insert', 'update'))),
  constraint rows_have_a_table_and_a_key check (
    ("table" is not null) = (op <> 'floor') and (key is not null) = (op <> 'floor')),
  constraint rows_touch_documents_and_floors_a_kind check (
    (cardinality(tags) > 0) = (op <> 'floor') and (kind is not null) = (op = 'floor')),
  constraint hashes_of_tokens_are_never_logged check (
    coalesce(old ->> 'sha256', 'changed') = 'changed' and coalesce(new ->> 'sha256', 'changed') = 'changed')
);
comment on table policy.change is 'What each revision did, row by row. Written by triggers; pruned from the old end.';
comment on column policy.change.revision is 'the revision (policy.revision.number)';
comment on column policy.change.ordinal is 'order within it';
comment on column policy.change."table" is 'which table of schema policy; null for a floor';
comment on column policy.change.op is 'insert, update, delete; floor: everything of a kind is stale';
comment on column policy.change.key is 'the row''s primary key';
comment on column policy.change.old is 'the row before';
comment on column policy.change.new is 'the row after';
comment on column policy.change.tags is 'the documents that changed, before and after';
comment on column policy.change.kind is 'for a floor: which kind';

create table policy.log_window (
  singleton boolean primary key default true constraint there_is_one_window check (singleton),
  pruned_to bigint not null default 0
);
comment on table policy.log_window is 'One row: how much of the log is gone.';
comment on column policy.log_window.singleton is 'always true';
comment on column policy.log_window.pruned_to is 'changes of revisions up to this one may be missing';
insert into policy.log_window default values;

-- SECURITY DEFINER: only the triggers and functions of this schema write the log, whoever changes the rows.
create function policy.take_revision() returns bigint
  language plpgsql security definer set search_path = '' as $$
declare
  taken bigint;
begin
  update policy.counter as c
     set number = c.number + 1, xid = pg_current_xact_id(), begun = transaction_timestamp()
   where (c.xid, c.begun) is distinct from (pg_current_xact_id(), transaction_timestamp())
  returning c.number into taken;
  if not found then
    return (select c.number from policy.counter as c);
  end if;
  insert into policy.revision (number, xid, claimed_actor, reason) values (
    taken, pg_current_xact_id(), nullif(current_setting('policy.actor', true), ''),
    coalesce(nullif(current_setting('policy.reason', true), ''), nullif(current_setting('policy.allow_mass_change', true), '')));
  perform pg_notify('policy', taken::text);
  return taken;
end $$;
comment on function policy.take_revision() is
  'The number of this transaction''s revision, taken and announced (NOTIFY policy) at its first real change.';
revoke execute on function policy.take_revision() from public;

-- SECURITY DEFINER: locks policy.counter, which nobody else may touch.
create function policy.claim_turn() returns void
  language plpgsql security definer set search_path = '' as $$
begin
  -- Settings of a role do not reach its members, so they are made here: a forgotten psql must not stop everybody.
  if current_setting('lock_timeout') = '0' then
    perform set_config('lock_timeout', '10s', true);
  end if;
  if current_setting('idle_in_transaction_session_timeout') = '0' then
    perform set_config('idle_in_transaction_session_timeout', '60s', true);
  end if;
  perform from policy.counter for update skip locked;
  if found then
    return;
  end if;
  begin
    perform from policy.counter for update;
  exception when lock_not_available then
    raise exception using
      errcode = 'lock_not_available', schema = 'policy', table = 'counter', constraint = 'one_transaction_changes_policy_at_a_time',
      message = format('another transaction is changing policy and did not end within %s', current_setting('lock_timeout')),
      hint = 'Nothing was changed. Try again; see pg_stat_activity for who is at it, or set lock_timeout to wait longer.';
  end;
end $$;
comment on function policy.claim_turn() is
  'Locks the counter until this transaction ends, waiting its turn for at most lock_timeout (10 s unless set).';

revoke execute on function policy.claim_turn() from public;

-- SECURITY DEFINER: may call claim_turn, with which anybody else could keep everybody waiting.
create function policy.claim() returns trigger
  language plpgsql security definer set search_path = '' as $$
begin
  perform policy.claim_turn();
  return null;
end $$;
comment on function policy.claim() is 't000: takes this transaction''s turn before a statement touches a row.';

create function policy.key_of(record jsonb, columns text[]) returns jsonb
  language sql stable parallel safe
  return jsonb_build_object(columns[1], record -> columns[1])
    || case when columns[2] is null then '{}' else jsonb_build_object(columns[2], record -> columns[2]) end
    || case when columns[3] is null then '{}' else jsonb_build_object(columns[3], record -> columns[3]) end;
comment on function policy.key_of(jsonb, text[]) is 'The key of a row: its fields of these one to three names.';

create function policy.without_hash(record jsonb, other jsonb) returns jsonb
  language sql immutable parallel safe
  return case
    when not record ? 'sha256' then record
    when other ->> 'sha256' <> record ->> 'sha256' then record || '{"sha256": "changed"}'
    else record - 'sha256'
  end;
comment on function policy.without_hash(jsonb, jsonb) is
  'The row as the log may show it: never a token''s hash, but that it is another than the other row''s.';

-- SECURITY DEFINER: whoever may change a row may not write the log.
-- Its statements are static: plpgsql keeps them per table, and a full join on one equality is a hash join (merge joins
-- sort whole rows) whatever the planner thought when the table was empty; JIT would cost more than it saves. `*<>` compares images, because 5 and 5.0 are equal in jsonb
-- but not to KumoMTA. take_revision is called once, and only if there is a row; `offset 0` keeps to_jsonb from being
-- called for each use of its result.
create function policy.log_change() returns trigger
  language plpgsql security definer set search_path = '' set enable_mergejoin = off set jit = off as $$
declare
  columns text[] := tg_argv[1:];
begin
  if tg_op = 'INSERT' then
    insert into policy.change (revision, "table", op, key, new, tags)
    select (select policy.take_revision()), tg_table_name, 'insert',
           policy.key_of(n.record, columns), policy.without_hash(n.record, null), array[n.tag]
      from (select r.tag, to_jsonb(r) - 'tag' as record from new_rows as r offset 0) as n;
  elsif tg_op = 'DELETE' then
    insert into policy.change (revision, "table", op, key, old, tags)
    select (select policy.take_revision()), tg_table_name, 'delete',
           policy.key_of(o.record, columns), policy.without_hash(o.record, null), array[o.tag]
      from (select r.tag, to_jsonb(r) - 'tag' as record from old_rows as r offset 0) as o;
  elsif tg_argv[0]::boolean then
    insert into policy.change (revision, "table", op, key, old, new, tags)
    select (select policy.take_revision()), tg_table_name,
           case when c.old is null then 'insert' when c.new is null then 'delete' else 'update' end,
           policy.key_of(coalesce(c.old, c.new), columns), policy.without_hash(c.old, c.new), policy.without_hash(c.new, c.old),
           array[c.tag]
      from (select coalesce(o.tag, n.tag) as tag, to_jsonb(o) - 'tag' as old, to_jsonb(n) - 'tag' as new
              from old_rows as o full join new_rows as n on n.tag = o.tag
             where o.tag is null or n.tag is null or o *<> n offset 0) as c;
  else
    insert into policy.change (revision, "table", op, key, old, new, tags)
    select (select policy.take_revision()), tg_table_name,
           case when o.tag is null then 'insert' when n.tag is null then 'delete' else 'update' end,
           policy.key_of(coalesce(o.record, n.record), columns), o.record, n.record, array[coalesce(o.tag, n.tag)]
      from (select r.tag, r as image, to_jsonb(r) - 'tag' as record from old_rows as r offset 0) as o
      full join (select r.tag, r as image, to_jsonb(r) - 'tag' as record from new_rows as r offset 0) as n
        on policy.key_of(n.record, columns) = policy.key_of(o.record, columns)
     where o.tag is null or n.tag is null or o.image *<> n.image;
  end if;
  return null;
end $$;
comment on function policy.log_change() is
  't500: logs the rows that really changed. Arguments: whether a tag is one row, by which old and new then pair, else by
the key; and the columns of the primary key.';

create function policy.refuse_truncate() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception using
    errcode = 'feature_not_supported', schema = 'policy', table = tg_table_name, constraint = 'truncate_is_refused',
    message = format('truncate of policy.%s is refused: the log could not see which rows went', tg_table_name),
    hint = format('Use: delete from policy.%s', tg_table_name);
end $$;
comment on function policy.refuse_truncate() is 't000: refuses TRUNCATE, which shows its rows to nobody.';

create function policy.kinds() returns text[] language sql immutable parallel safe
  return array['listener_domain', 'egress_source', 'egress_pool', 'tenant', 'queue', 'queue_settings', 'api_token'];
comment on function policy.kinds() is 'The kinds of documents, the first part of their tags.';

-- SECURITY DEFINER: writes the log.
create function policy.invalidate(kind text, reason text) returns bigint
  language plpgsql security definer set search_path = '' as $$
declare
  taken bigint;
begin
  if kind is null or kind <> all (policy.kinds()) then
    raise exception using
      errcode = 'invalid_parameter_value',
      message = format('there is no kind %L: allowed are %s', kind, array_to_string(policy.kinds(), ', '));
  end if;
  if coalesce(reason, '') = '' then
    raise exception using errcode = 'invalid_parameter_value', message = 'a reason is needed: policy.invalidate(kind, reason)';
  end if;
  perform policy.claim_turn();
  perform set_config('policy.reason', reason, true);
  taken := policy.take_revision();
  insert into policy.change (revision, op, tags, kind) values (taken, 'floor', '{}', kind);
  return taken;
end $$;
comment on function policy.invalidate(text, text) is
  'Makes everything of a kind stale everywhere, and returns the revision: for changes that the triggers did not see.';
revoke execute on function policy.invalidate(text, text) from public;

-- SECURITY DEFINER: deletes from the log.
create function policy.prune(up_to bigint) returns bigint
  language plpgsql security definer set search_path = '' as $$
declare
  gone bigint;
begin
  update policy.log_window as w set pruned_to = least(up_to, (select c.number from policy.counter as c))
   where w.pruned_to < least(up_to, (select c.number from policy.counter as c));
  delete from policy.change as c where c.revision <= least(up_to, (select w.pruned_to from policy.log_window as w));
  get diagnostics gone = row_count;
  return gone;
end $$;
comment on function policy.prune(bigint) is
  'Deletes what the log says of revisions up to this one, and returns how many rows that were. Revisions themselves stay.';
revoke execute on function policy.prune(bigint) from public;
