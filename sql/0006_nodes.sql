-- What is known of the nodes.

create table policy.node (
  node_id text constraint nodes_are_unique primary key
    constraint node_id_is_letters_digits_dot_underscore_hyphen check (policy.is_node_name(node_id)),
  node_group text constraint node_group_is_letters_digits_dot_underscore_hyphen check (policy.is_node_name(node_group)),
  token text,
  kumomta_version text,
  client_version text,
  applied_number bigint,
  applied_stamp text,
  last_seen timestamptz not null default now(),
  counts jsonb not null default '{}',
  last_error text
);
comment on table policy.node is 'What each kumod last said of itself. Observed, not policy: changes make no revision.';
comment on column policy.node.node_id is 'its name';
comment on column policy.node.node_group is 'the group whose sources and pools it gets';
comment on column policy.node.token is 'the api_token that registered it, the only one that may speak for it';
comment on column policy.node.kumomta_version is 'such as 2026.08.04-3ebc1e85';
comment on column policy.node.client_version is 'of the Lua client';
comment on column policy.node.applied_number is 'the revision that it has applied';
comment on column policy.node.applied_stamp is 'and that revision''s stamp';
comment on column policy.node.last_seen is 'when it said so; within ten minutes it counts as live';
comment on column policy.node.counts is 'answers by outcome';
comment on column policy.node.last_error is 'what went wrong last';

create function policy.old_nodes(since text) returns text
  language sql stable
begin atomic
  select string_agg(format('%s (%s)', n.node_id, n.kumomta_version), ', ' order by n.node_id)
  from policy.node as n
  -- What is no version says nothing: a node that reports "1" must not stop everybody's newer options.
  where n.last_seen > now() - interval '10 minutes' and n.kumomta_version ~ '^\d{4}\.\d\d\.\d\d'
    and left(n.kumomta_version, 10) < since;
end;
comment on function policy.old_nodes(text) is
  'The nodes seen within ten minutes whose KumoMTA is older than this version, with theirs; null if there are none.';
