-- What the service itself needs: tokens of its callers, and what is known of the nodes.

create table policy.api_token (
  name text constraint token_names_are_unique primary key
    constraint name_is_letters_digits_underscore_hyphen check (name ~ '^[A-Za-z0-9_-]{1,64}$'),
  sha256 text not null constraint sha256_is_64_lower_case_hex_digits check (sha256 ~ '^[0-9a-f]{64}$'),
  scopes text[] not null constraint scopes_are_some_of_lookup_dkim_auth_status_admin check (
    cardinality(scopes) > 0 and scopes <@ array['lookup', 'dkim', 'auth', 'status', 'admin']),
  networks cidr[] constraint networks_are_null_for_any_or_not_empty check (
    cardinality(networks) > 0 and array_position(networks, null) is null),
  domains text[] constraint domains_are_null_for_any_or_lower_case_a_labels check (
    cardinality(domains) > 0 and policy.are_domains(domains)),
  expires_at timestamptz constraint expires_at_is_a_point_in_time check (isfinite(expires_at)),
  created_at timestamptz not null default now(),
  tag text not null generated always as ('api_token/' || name) stored constraint token_documents_are_unique unique
);
comment on table policy.api_token is
  'Who may ask policyd. `policyd token create` makes the secret and shows it once; here is only its hash.';
comment on column policy.api_token.name is 'the part of the token before the dot';
comment on column policy.api_token.sha256 is 'SHA-256 of the token, as hex';
comment on column policy.api_token.scopes is 'what it may do: lookup, dkim, auth, status, admin';
comment on column policy.api_token.networks is 'from where; null: from anywhere';
comment on column policy.api_token.domains is 'whose keys it may read; null: all';
comment on column policy.api_token.expires_at is 'until when; null: no end';
comment on column policy.api_token.created_at is 'since when';
comment on column policy.api_token.tag is 'its document';
call policy.watch('policy.api_token');

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
  where n.last_seen > now() - interval '10 minutes' and left(n.kumomta_version, 10) < since;
end;
comment on function policy.old_nodes(text) is
  'The nodes seen within ten minutes whose KumoMTA is older than this version, with theirs; null if there are none.';

create view policy.api_token_document as
select t.tag, jsonb_strip_nulls(jsonb_build_object(
  'name', t.name, 'sha256', t.sha256, 'scopes', t.scopes, 'networks', t.networks, 'domains', t.domains,
  'expires_at', floor(extract(epoch from t.expires_at))::bigint)) as body
from policy.api_token as t;
comment on view policy.api_token_document is 'What the service checks a caller by; expires_at in seconds since 1970.';
comment on column policy.api_token_document.tag is 'the document';
comment on column policy.api_token_document.body is 'what it says';
