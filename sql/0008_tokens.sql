-- Tokens: who may ask policyd.

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
comment on column policy.api_token.sha256 is 'SHA-256 of the part after the dot, as hex';
comment on column policy.api_token.scopes is 'what it may do: lookup, dkim, auth, status, admin';
comment on column policy.api_token.networks is 'from where; null: from anywhere';
comment on column policy.api_token.domains is 'whose keys it may read; null: all';
comment on column policy.api_token.expires_at is 'until when; null: no end';
comment on column policy.api_token.created_at is 'since when';
comment on column policy.api_token.tag is 'its document';
call policy.watch('policy.api_token');

create view policy.api_token_document as
select t.tag, jsonb_strip_nulls(jsonb_build_object(
  'name', t.name, 'sha256', t.sha256, 'scopes', t.scopes, 'networks', t.networks, 'domains', t.domains,
  'expires_at', floor(extract(epoch from t.expires_at))::bigint)) as body
from policy.api_token as t;
comment on view policy.api_token_document is 'What the service checks a caller by; expires_at in seconds since 1970.';
comment on column policy.api_token_document.tag is 'the document';
comment on column policy.api_token_document.body is 'what it says';
