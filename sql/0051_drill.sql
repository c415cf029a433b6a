-- Drills: outages on purpose and for a while, which every replica keeps to, to see what nodes do in one.

create function policy.are_node_names(names text[]) returns boolean language sql immutable parallel safe
  return not exists (select from unnest(names) as n (name) where policy.is_node_name(n.name) is not true);
comment on function policy.are_node_names(text[]) is 'True when nodes could be called so, all of them.';

create table policy.drill (
  number bigint generated always as identity constraint drills_are_numbered primary key,
  kinds text[] constraint kinds_are_null_for_everything_or_some_that_nodes_ask_for check (
    cardinality(kinds) > 0 and array_position(kinds, null) is null
    and kinds <@ array['listener_domain', 'egress_source', 'egress_pool', 'tenant', 'queue_settings', 'queue', 'dkim',
                       'shaping', 'webhooks', 'auth']),
  nodes text[] constraint nodes_are_null_for_everybody_or_names check (
    cardinality(nodes) > 0 and policy.are_node_names(nodes)),
  until timestamptz not null,
  started_at timestamptz not null default clock_timestamp(),
  login text not null default session_user,
  actor text,
  constraint a_drill_lasts_at_most_an_hour check (until > started_at and until <= started_at + interval '1 hour')
);
comment on table policy.drill is
  'Outages on purpose: what a row names fails for whom it names, at every replica, until its time is over or it is deleted.';
comment on column policy.drill.number is 'which one';
comment on column policy.drill.kinds is 'the lookups that fail; null: everything that a node asks, save its reports';
comment on column policy.drill.nodes is 'for whom; null: for whoever asks';
comment on column policy.drill.until is 'until when, by the database''s clock';
comment on column policy.drill.started_at is 'since when';
comment on column policy.drill.login is 'who logged in to start it';
comment on column policy.drill.actor is 'and on whose behalf, as they said';

create function policy.begin_drill() returns trigger language plpgsql set search_path = '' as $$
begin
  delete from policy.drill as d where d.until <= clock_timestamp();
  new.started_at := clock_timestamp();
  new.login := session_user;
  new.actor := nullif(current_setting('policy.actor', true), '');
  return new;
end $$;
comment on function policy.begin_drill() is 'Says since when and by whom, whatever is claimed, and clears away drills that are over.';
create trigger begin_drill before insert on policy.drill for each row execute function policy.begin_drill();

create function policy.tell_drills() returns trigger language plpgsql set search_path = '' as $$
begin
  perform pg_notify('policy', 'drill');
  return null;
end $$;
comment on function policy.tell_drills() is 'Has every replica read which drills are on.';
create trigger tell_drills after insert or update or delete or truncate on policy.drill
  for each statement execute function policy.tell_drills();

alter table policy.node add column in_touch boolean not null default true;
comment on column policy.node.in_touch is 'false: it said that it cannot learn what changes, because of a drill';

create or replace view policy.node_state as
select n.node_id, n.node_group, n.token, n.kumomta_version, n.client_version, n.applied_number, n.applied_stamp,
       n.first_seen, n.last_seen, policy.is_live(n.last_seen) as live,
       applied.number is not null as is_ours,
       case when applied.number is not null then head.number - applied.number end as behind,
       -- What reported a position of another history has waited since: the log does not say for what.
       case when n.applied_number is null then n.first_seen
            when applied.number is null then n.last_seen
            else (select r.at from policy.revision as r where r.number > n.applied_number order by r.number limit 1)
       end as waits_since,
       n.counts, n.last_error, n.last_error_at, n.in_touch
from policy.node as n
cross join (select r.number from policy.revision as r order by r.number desc limit 1) as head
left join policy.revision as applied on applied.number = n.applied_number and applied.stamp = n.applied_stamp;
comment on column policy.node_state.in_touch is 'false: it said that it cannot learn what changes, because of a drill';

insert into policy.privilege (role, privilege) values
  ('policyd_owner', 'select, insert, delete on policy.drill'),
  ('policyd_editor', 'select on policy.drill'),
  ('policyd_service', 'select on policy.drill'),
  ('policyd_reader', 'select on policy.drill');
call policy.grant_access();
